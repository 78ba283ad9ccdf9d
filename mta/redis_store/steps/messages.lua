-- One message: the records and places of its deliveries, and its cancellation.

-- message_read: records and final statuses. KEYS: lane, rec, ended... (newest first). ARGV: delivery id, ...
-- Answers [id, record, status, ...] of what is known; record or status may be false.
local function message_read(keys, argv)
  local records, ended, answer = redis.call('HMGET', keys[2], unpack(argv)), {}, {}
  for k = 3, #keys do
    if redis.call('EXISTS', keys[k]) == 1 then
      local statuses = redis.call('HMGET', keys[k], unpack(argv))
      for i = 1, #argv do
        ended[i] = ended[i] or statuses[i]
      end
    end
  end
  for i, id in ipairs(argv) do
    if records[i] or ended[i] then
      answer[#answer + 1] = id
      answer[#answer + 1] = records[i]
      answer[#answer + 1] = ended[i] or false
    end
  end
  return answer
end

redis.register_function {
  function_name = STEP .. 'message_read',
  callback = message_read,
  flags = { 'no-writes', 'allow-oom' },
}

-- message_places: where deliveries with a record are. KEYS: lane. ARGV: id, domain, rule, stage, uncertain, share, ...;
-- `rule` is the one that intercepted it, '' = it lives; `share` is that of its record, '' = the common one, or not
-- known. Answers [[kind, place, source, due, asked], ...]: kind is due, held
-- (source: the pause), parked, claimed (source: the session), spared (source: the rule), or '' when it is in none of
-- these.
local function message_places(keys, argv)
  local P = prefix_of(keys[1], 'lane')
  local pools, pauses = redis.call('SMEMBERS', P .. 'pools'), redis.call('SMEMBERS', P .. 'pauses')
  local sessions = redis.call('SMEMBERS', P .. 'holders')

  local function spared(places, id, domain, rule, stage, uncertain)
    for _, place in ipairs(places) do
      if redis.call('ZSCORE', P .. 'spared:' .. rule, spared_member(id, stage, uncertain == '1', place, domain)) then
        return { 'spared', place, rule, '0' }
      end
    end
  end

  local function living(places, id, domain)
    for _, place in ipairs(places) do
      local due = redis.call('ZSCORE', P .. 'due:' .. place .. ':' .. domain, id)
      if due then
        return { 'due', place, '', due }
      end
    end
    for _, session in ipairs(sessions) do
      local hold = redis.call('HGET', P .. 'claimed:' .. session, id)
      if hold then
        return { 'claimed', string.match(hold, '^[^|]*|([^|]*)|'), session, '0' }
      end
    end
    for _, place in ipairs(places) do
      local member = id .. place .. '|' .. domain
      if redis.call('ZSCORE', P .. 'parked', member) then
        return { 'parked', place, '', '0' }
      end
      for _, pause in ipairs(pauses) do
        if redis.call('ZSCORE', P .. 'held:' .. pause, member) then
          return { 'held', place, pause, '0' }
        end
      end
    end
  end

  local answer = {}
  -- By share; mail of another version may have a tenant and wait in no share.
  local places_of = { [''] = pools }
  for i = 6, #argv, 6 do
    if not places_of[argv[i]] then
      local places = {}
      for _, pool in ipairs(pools) do
        places[#places + 1] = pool .. '~' .. argv[i]
        places[#places + 1] = pool
      end
      places_of[argv[i]] = places
    end
  end
  for i = 1, #argv, 6 do
    local id, domain, rule = argv[i], argv[i + 1], argv[i + 2]
    local places, found = places_of[argv[i + 5]], nil
    if rule == '' then
      found = living(places, id, domain)
    else
      found = spared(places, id, domain, rule, argv[i + 3], argv[i + 4])
    end
    found = found or { '', '', '', '0' }
    found[5] = string.match(redis.call('HGET', P .. 'cancels', id) or '0', '^%d+')
    answer[#answer + 1] = found
  end
  return answer
end

redis.register_function {
  function_name = STEP .. 'message_places',
  callback = message_places,
  flags = { 'no-writes', 'allow-oom' },
}

-- cancel: ends deliveries that still wait where they were seen, as canceled or expired, and marks those that are
-- claimed: the worker, or the one that claims it after that worker's death, ends it. A delivery that a rule intercepted
-- and spared stays intercepted, and its undo copy is let go. Never leaves a mark on a delivery that has ended, and
-- touches none that has moved, or has another record, since it was read.
-- KEYS: lane, rec, content, refs, count, events, cancels, parked, pauses, spares, then claimed, due, agenda, held,
-- spared, tag and rule keys.
-- ARGV[1]: msgpack of messages.Batch (steps/messages.py).
-- Answers one of C (ended), A (its worker is asked), S (no longer spared), M (it has moved: look again) for each item.
local function cancel(keys, argv)
  local P = prefix_of(keys[1], 'lane')
  local asked_at, author, retention_ms, as, items = unpack(cmsgpack.unpack(argv[1])) -- messages.Batch
  local rec, cancels = P .. 'rec', P .. 'cancels'
  local answer, gone, ended, events, sums = {}, {}, {}, {}, {}
  for i, item in ipairs(items) do
    -- messages.Item
    local id, kind, place, domain, source, record, tags, event, final, stage, uncertain, left_rule = unpack(item)
    local member = id .. place .. '|' .. domain
    answer[i] = 'M'
    if kind == 'claimed' then
      if redis.call('HEXISTS', P .. 'claimed:' .. source, id) == 1 then
        redis.call('HSETNX', cancels, id, asked_at .. '|' .. author)
        answer[i] = 'A'
      end
    elseif kind == 'spared' then
      if unspare(P, source, { spared_member(id, stage, uncertain, place, domain) }) == 1 then
        gone[#gone + 1] = id
        answer[i] = 'S'
      end
    elseif redis.call('HGET', rec, id) == record then
      local class, left = kind, 0
      if kind == 'due' then
        class = 'queued'
        left = redis.call('ZREM', P .. 'due:' .. place .. ':' .. domain, id)
        mend_agenda(P, place, domain)
      elseif kind == 'held' then
        left = redis.call('ZREM', P .. 'held:' .. source, member)
        if redis.call('EXISTS', P .. 'held:' .. source) == 0 then
          redis.call('SREM', P .. 'pauses', source)
        end
      else
        left = redis.call('ZREM', P .. 'parked', member)
      end
      if left == 1 then
        answer[i] = 'C'
        gone[#gone + 1] = id
        ended[#ended + 1] = id
        ended[#ended + 1] = (as == 'expired' and 'e' or 'c:' .. (uncertain and 1 or 0)) .. '\0' .. final
        events[#events + 1] = event
        count_tags(sums, P, tags, class, -1)
        count_tags(sums, P, tags, as, 1)
        if kind == 'held' then
          count(sums, P .. 'rule:' .. source, 'held', -1)
          count(sums, P .. 'rule:' .. source, 'other', 1)
        end
        -- A parked delivery was counted so when it left its queue.
        if uncertain and kind ~= 'parked' then
          count_tags(sums, P, tags, 'uncertain', 1)
        end
        if left_rule ~= '' and kind ~= 'parked' then
          count(sums, P .. 'rule:' .. left_rule, 'deferred', -1)
          count(sums, P .. 'rule:' .. left_rule, 'other', 1)
        end
      end
    end
  end
  if #gone > 0 then
    redis.call('HDEL', rec, unpack(gone))
    release_content(P, gone)
  end
  if #ended > 0 then
    note_ended(P, now_ms(), retention_ms, ended)
  end
  add_up(sums)
  append_events(P, events)
  return answer
end

redis.register_function { function_name = STEP .. 'cancel', callback = cancel, flags = { 'allow-oom' } }

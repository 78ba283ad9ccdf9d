-- settle: ends claims. Never leaves a delivery both claimed and elsewhere, nor a counter or an event without its state.
-- KEYS: lane, claimed, rec, content, refs, count, events, parked, cancels, pauses, spares, then due, agenda, held, spared, tag and rule keys.
-- ARGV[1]: msgpack [session, retention_ms, [[pool, domain, token], ...], [kind, ...], [tags, ...], ids, queues, kinds, tags, dues, records, lates,
--   finals], the last eight lists in one order; queues, kinds and tags are places in the lists before. A kind is an array in the order of the
--   locals below. A late is what stands, in the event for a delivery that is no longer the session's, in place of the first bytes of
--   the other one: how many these are (one byte, 255 = all), then the bytes; '' = no such event.
-- ARGV[2]: the events, framed; an empty one is none.
-- Answers one of O (ok), S (stale), R (old rules), C (it would live on, or could be undone, but is to be canceled) for each delivery.

-- What a late worker knows is not thrown away: a delivery that ended as intercepted or canceled moves to delivered.
local function late_delivered(P, now, retention_ms, sums, id, pool, domain, tags, final)
  for back = 0, math.ceil(retention_ms / 3600000) do
    local key = P .. 'ended:' .. (math.floor(now / 3600000) - back)
    local status = redis.call('HGET', key, id)
    if status then
      local stage, uncertain, rule = string.match(status, '^i:([^:]*):(%d):([^%z]*)')
      if stage then
        count_tags(sums, P, tags, 'intercepted:' .. stage, -1)
        count(sums, P .. 'rule:' .. rule, 'intercepted:' .. stage, -1)
        count(sums, P .. 'rule:' .. rule, 'after', 1)
        if uncertain == '1' then
          count(sums, P .. 'rule:' .. rule, 'uncertain', -1)
        end
        if unspare(P, rule, { spared_member(id, stage, uncertain == '1', pool, domain) }) == 1 then
          redis.call('HDEL', P .. 'rec', id)
          release_content(P, { id })
        end
      else
        uncertain = string.match(status, '^c:(%d)')
        if not uncertain then
          return
        end
        count_tags(sums, P, tags, 'canceled', -1)
      end
      count_tags(sums, P, tags, 'delivered', 1)
      if uncertain == '1' then
        count_tags(sums, P, tags, 'uncertain', -1)
      end
      redis.call('HSET', key, id, 'd\0' .. final)
      return
    end
  end
end

-- The first letter of the class that a delivery ended in during the last hours, '' = it did not.
local function ended_as(P, now, id)
  for back = 0, 2 do
    local status = redis.call('HGET', P .. 'ended:' .. (math.floor(now / 3600000) - back), id)
    if status then
      return string.sub(status, 1, 1)
    end
  end
  return ''
end

-- Event number `place` of what is framed.
local function framed_at(framed, place)
  local at, size = 1, 0
  for _ = 1, place do
    at = at + size
    size, at = struct.unpack('>I4', framed, at)
  end
  return string.sub(framed, at, at + size - 1)
end

local function late_event(late, framed, place)
  local cut, head = string.byte(late), string.sub(late, 2)
  return cut == 255 and head or head .. string.sub(framed_at(framed, place), cut + 1)
end

local function settle(keys, argv)
  touch(keys)
  local P = prefix_of(keys[1], 'lane')
  local session, retention_ms, places, kinds, tags_known, ids, place_of, kind_of, tags_of, dues, records_of, lates, finals =
    unpack(cmsgpack.unpack(argv[1]))
  local claimed, now = P .. 'claimed:' .. session, now_ms()
  local barrier = tonumber(redis.call('HGET', keys[1], 'barrier') or 0)
  local holds = redis.call('HMGET', claimed, unpack(ids))
  local cancels = P .. 'cancels'
  local marks = redis.call('EXISTS', cancels) == 1 and redis.call('HMGET', cancels, unpack(ids)) or {}
  local hold_of = {}
  for i, place in ipairs(places) do
    hold_of[i] = place[3] .. '|' .. place[1] .. '|' .. place[2]
  end
  local answer, left_out, late_events, told, sums = {}, {}, {}, false, {}
  local unclaim, gone, ended, records, queues, hit, spares, holds_of = {}, {}, {}, {}, {}, {}, {}, {}
  for i, id in ipairs(ids) do
    local move, class, stage, generation, rule, uncertain, delivered_late, deferred, past_dot_of, left_rule, again, spare_ms, has_event =
      unpack(kinds[kind_of[i]])
    local tags, pool, domain = tags_known[tags_of[i]], unpack(places[place_of[i]])
    if holds[i] ~= hold_of[place_of[i]] then
      answer[i] = 'S'
      if lates[i] ~= '' and not (again and (move == 'q' or ended_as(P, now, id) == string.sub(class, 1, 1))) then
        late_events[#late_events + 1] = framed_event(late_event(lates[i], argv[2], i))
        if delivered_late then
          late_delivered(P, now, retention_ms, sums, id, pool, domain, tags, finals[i])
        end
      end
    elseif generation >= 0 and generation < barrier then
      answer[i] = 'R'
    elseif marks[i] and (move ~= 'e' or class == 'intercepted') then
      answer[i] = 'C'
    else
      answer[i] = 'O'
      unclaim[#unclaim + 1] = id
      told = told or has_event
      local due, record = dues[i], records_of[i]
      if move == 'e' then
        local field, status = class, string.sub(class, 1, 1)
        if class == 'intercepted' then
          field = 'intercepted:' .. stage
          status = 'i:' .. stage .. ':' .. (uncertain and 1 or 0) .. ':' .. rule
        elseif class == 'canceled' then
          status = 'c:' .. (uncertain and 1 or 0)
        end
        if spare_ms > 0 then
          push(spares, rule, now + spare_ms, spared_member(id, stage, uncertain, pool, domain))
        else
          gone[#gone + 1] = id
        end
        ended[#ended + 1] = id
        ended[#ended + 1] = status .. '\0' .. finals[i]
        count_tags(sums, P, tags, 'queued', -1, field, 1)
        if uncertain then
          count_tags(sums, P, tags, 'uncertain', 1)
        end
        if rule ~= '' then
          count(sums, P .. 'rule:' .. rule, field, 1)
          if uncertain then
            count(sums, P .. 'rule:' .. rule, 'uncertain', 1)
          end
        end
      elseif move == 'q' then
        local queue = queues[pool .. ':' .. domain]
        if not queue then
          queue = { pool, domain, due, {} }
          queues[pool .. ':' .. domain] = queue
        end
        queue[3] = math.min(queue[3], due)
        queue[4][#queue[4] + 1] = due
        queue[4][#queue[4] + 1] = id
        if deferred and left_rule == '' then
          count_tags(sums, P, tags, 'deferred_by_rule', 1)
        end
      elseif move == 'h' then
        push(holds_of, rule, due, id .. pool .. '|' .. domain)
        count_tags(sums, P, tags, 'queued', -1, 'held', 1)
        count(sums, P .. 'rule:' .. rule, 'held', 1)
        if left_rule ~= rule then
          count(sums, P .. 'rule:' .. rule, 'met', 1)
        end
      else
        redis.call('ZADD', P .. 'parked', now, id .. pool .. '|' .. domain)
        count_tags(sums, P, tags, 'queued', -1, 'parked', 1)
        if uncertain then
          count_tags(sums, P, tags, 'uncertain', 1)
        end
      end
      if record ~= '' and move ~= 'e' then
        records[#records + 1] = id
        records[#records + 1] = record
      end
      if rule ~= '' then
        count(sums, P .. 'rule:' .. rule, 'hits', 1)
        hit[rule] = true
        if deferred and left_rule ~= rule then
          count(sums, P .. 'rule:' .. rule, 'deferred', 1)
          count(sums, P .. 'rule:' .. rule, 'met', 1)
        elseif move == 'e' and left_rule ~= rule then
          count(sums, P .. 'rule:' .. rule, 'met', 1)
        end
      end
      if left_rule ~= '' and (move ~= 'q' or (rule ~= '' and rule ~= left_rule)) then
        count(sums, P .. 'rule:' .. left_rule, 'deferred', -1)
        if rule ~= left_rule then
          count(sums, P .. 'rule:' .. left_rule, 'other', 1)
        end
      end
      if move == 'e' then
        for _, past in ipairs(past_dot_of) do
          if past ~= rule then
            count(sums, P .. 'rule:' .. past, 'met', 1)
            count(sums, P .. 'rule:' .. past, class == 'delivered' and 'after' or 'other', 1)
          end
        end
      end
    end
    if answer[i] ~= 'O' then
      left_out[#left_out + 1] = struct.pack('>I2', i - 1)
    end
  end
  if #unclaim > 0 then
    redis.call('HDEL', claimed, unpack(unclaim))
  end
  if #gone > 0 then
    redis.call('HDEL', P .. 'rec', unpack(gone))
    release_content(P, gone)
  end
  if #ended > 0 then
    note_ended(P, now, retention_ms, ended)
  end
  if #records > 0 then
    redis.call('HSET', P .. 'rec', unpack(records))
  end
  add_spares(P, spares)
  for pause, entries in pairs(holds_of) do
    redis.call('ZADD', P .. 'held:' .. pause, unpack(entries))
    redis.call('SADD', P .. 'pauses', pause)
  end
  local soonest = now + 1000
  for _, queue in pairs(queues) do
    redis.call('ZADD', P .. 'due:' .. queue[1] .. ':' .. queue[2], unpack(queue[4]))
    redis.call('ZADD', P .. 'agenda:' .. queue[1], 'LT', queue[3], queue[2])
    soonest = math.min(soonest, queue[3])
  end
  for rule in pairs(hit) do
    redis.call('HSET', P .. 'rule:' .. rule, 'last_hit_at', now)
  end
  add_up(sums)
  if told or #late_events > 0 then
    append_framed(P, argv[2] .. table.concat(late_events), left_out)
  end
  if soonest < now + 1000 then
    redis.call('PUBLISH', 'fg:wake', P)
  end
  return answer
end

redis.register_function { function_name = 'fg1_settle', callback = settle, flags = { 'allow-oom' } }

-- note: appends events that change no state (Escaped). KEYS: lane, events. ARGV: event, ...
local function note(keys, argv)
  touch(keys)
  append_events(prefix_of(keys[1], 'lane'), argv)
  return #argv
end

redis.register_function { function_name = 'fg1_note', callback = note, flags = { 'allow-oom' } }

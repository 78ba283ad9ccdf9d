-- The server looks at all KEYS before a step runs, so during a slot migration claim and settle fail cleanly by
-- themselves.

-- settle: ends claims. Never leaves a delivery both claimed and elsewhere, nor a counter or an event without its state.
-- KEYS: lane, claimed, rec, content, refs, count, events, parked, cancels, pauses, spares, then due, agenda, held,
-- spared, tag and rule keys, and keys of rates.
-- ARGV[1]: msgpack of settle.Batch (see settle.py, whose fields a test compares with the locals here).
-- ARGV[2]: the events, framed; an empty one is none. ARGV[3]: the ids, one behind the other. ARGV[4]: msgpack [tags of
-- each].
-- ARGV[5...]: the final status of each, '' = it does not end.
-- Answers a letter for each delivery: O (ok), S (stale), R (old rules), C (it would live on, or could be undone, but is
-- to be canceled); behind them, for each C, a NUL and the author of the order. K instead: nothing was done, since the
-- lane lacks common fields that the caller left out.

-- Where the `seq` of an event or a final status begins: it is the last item of the array, after a boolean
-- (model/events.py, model/endings.py). nil = there is none.
local function seq_begins(packed)
  local size = #packed
  for _, form in ipairs { { 3, 205 }, { 2, 204 }, { 1 } } do
    local at, mark = size - form[1] + 1, form[2]
    local before, first = string.byte(packed, math.max(at - 1, 1), math.max(at, 2))
    if (before == 194 or before == 195) and (first == mark or (not mark and first < 128)) then
      return at
    end
  end
end

local function seq_of(packed)
  local at = seq_begins(packed)
  return at and cmsgpack.unpack(string.sub(packed, at)) or 0
end

local function with_seq(packed, seq)
  local at = seq_begins(packed)
  return at and string.sub(packed, 1, at - 1) .. cmsgpack.pack(seq) or packed
end

-- The outcome that a late worker tells is kept: a delivery that ended as intercepted or canceled moves to delivered,
-- with the status `final`. Answers its `seq` then, greater than that of the end which it replaces.
local function late_delivered(P, now, retention_ms, sums, id, place, domain, tags, final)
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
        if unspare(P, rule, { spared_member(id, stage, uncertain == '1', place, domain) }) == 1 then
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
      local seq = math.max(seq_of(final), seq_of(status) + 1)
      redis.call('HSET', key, id, with_seq(final, seq))
      return seq
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

-- The event as one that came late. It is an array (three bytes) whose first item is its type, a string with one byte
-- before it.
local function as_late(event)
  return string.sub(event, 1, 3) .. '\171LateOutcome' .. string.sub(event, 5 + string.byte(event, 4) % 32)
end

local NOTHING_ELSE = { 0, '', '' }
local PLAIN, MOVE, CLASS, GENERATION, DELIVERED_LATE, AGAIN, TOLD_LATE, TOLD = 1, 2, 3, 5, 8, 12, 14, 15 -- settle.Kind
local LATE_EVENT = 3 -- settle.Other

-- Most steps need no delivery's own tags.
local function tags_of(step, i)
  step.tags = step.tags or cmsgpack.unpack(step.argv[4])
  return step.tags[i]
end

local function queue_of(step, i)
  return string.match(step.hold_of[i], '^[^|]*|([^|]*)|(.*)$')
end

-- The claim is another's by now, or nobody's.
local function stale(step, i, id, kind, other)
  if not kind[TOLD_LATE] and other[LATE_EVENT] == '' then
    return
  end
  if kind[AGAIN] and (kind[MOVE] == 'q' or ended_as(step.P, step.now, id) == string.sub(kind[CLASS], 1, 1)) then
    return
  end
  local event = kind[TOLD_LATE] and as_late(framed_at(step.argv[2], i)) or other[LATE_EVENT]
  if kind[DELIVERED_LATE] then
    local place, domain = queue_of(step, i)
    local seq = late_delivered(
      step.P,
      step.now,
      step.retention_ms,
      step.sums,
      id,
      place,
      domain,
      tags_of(step, i),
      step.argv[4 + i]
    )
    event = seq and with_seq(event, seq) or event
  end
  step.late_events[#step.late_events + 1] = framed_event(event)
end

-- A plain end, as nearly every delivery has: for good, without a doubt, a rule or an undo.
local function plain_end(step, i, id)
  step.unclaim[#step.unclaim + 1] = id
  step.gone[#step.gone + 1] = id
  step.ended[#step.ended + 1] = id
  step.ended[#step.ended + 1] = step.argv[4 + i]
end

-- Any other way out.
local function other_end(step, i, id, kind, other)
  -- settle.Kind
  local _, move, class, stage, _, rule, uncertain, _, deferred, past_dot_of, left_rule, _, spare_ms = unpack(kind)
  local due, record = unpack(other) -- settle.Other
  local P, now, sums = step.P, step.now, step.sums
  local tags, place, domain = tags_of(step, i), queue_of(step, i)
  local of_rule = P .. 'rule:' .. rule
  step.unclaim[#step.unclaim + 1] = id
  if move == 'e' then
    local field = class == 'intercepted' and 'intercepted:' .. stage or class
    if spare_ms > 0 then
      push(step.spares, rule, now + spare_ms, spared_member(id, stage, uncertain, place, domain))
    else
      step.gone[#step.gone + 1] = id
    end
    step.ended[#step.ended + 1] = id
    step.ended[#step.ended + 1] = step.argv[4 + i]
    count_tags(sums, P, tags, 'queued', -1, field, 1)
    if uncertain then
      count_tags(sums, P, tags, 'uncertain', 1)
    end
    if rule ~= '' then
      count(sums, of_rule, field, 1)
      if uncertain then
        count(sums, of_rule, 'uncertain', 1)
      end
    end
  elseif move == 'q' then
    local queue = step.queues[place .. ':' .. domain]
    if not queue then
      queue = { place, domain, due, {} }
      step.queues[place .. ':' .. domain] = queue
    end
    queue[3] = math.min(queue[3], due)
    queue[4][#queue[4] + 1] = due
    queue[4][#queue[4] + 1] = id
    if deferred and left_rule == '' then
      count_tags(sums, P, tags, 'deferred_by_rule', 1)
    end
  elseif move == 'h' then
    push(step.holds_of, rule, due, id .. place .. '|' .. domain)
    count_tags(sums, P, tags, 'queued', -1, 'held', 1)
    count(sums, of_rule, 'held', 1)
    if left_rule ~= rule then
      count(sums, of_rule, 'met', 1)
    end
  else
    redis.call('ZADD', P .. 'parked', now, id .. place .. '|' .. domain)
    count_tags(sums, P, tags, 'queued', -1, 'parked', 1)
    if uncertain then
      count_tags(sums, P, tags, 'uncertain', 1)
    end
  end
  if record ~= '' and move ~= 'e' then
    step.records[#step.records + 1] = id
    step.records[#step.records + 1] = record
  end
  if rule ~= '' then
    count(sums, of_rule, 'hits', 1)
    step.hit[rule] = true
    if deferred and left_rule ~= rule then
      count(sums, of_rule, 'deferred', 1)
      count(sums, of_rule, 'met', 1)
    elseif move == 'e' and left_rule ~= rule then
      count(sums, of_rule, 'met', 1)
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

-- The sums of all plain ends hold where none of them was stale.
local function count_plain(P, plain)
  for at = 1, #plain, 3 do
    local class, many, tags = plain[at], plain[at + 1], plain[at + 2]
    redis.call('HINCRBY', P .. 'count', 'queued', -many)
    redis.call('HINCRBY', P .. 'count', class, many)
    for t = 1, #tags, 2 do
      local key = P .. 'tag:' .. tags[t]
      count_tag(key, 'queued', -tags[t + 1])
      redis.call('HINCRBY', key, class, tags[t + 1])
    end
  end
end

-- The changes that each delivery left in `step`.
local function write_down(step, claimed)
  local P, now = step.P, step.now
  if #step.unclaim > 0 then
    redis.call('HDEL', claimed, unpack(step.unclaim))
  end
  if #step.gone > 0 then
    redis.call('HDEL', P .. 'rec', unpack(step.gone))
    release_content(P, step.gone)
  end
  if #step.ended > 0 then
    note_ended(P, now, step.retention_ms, step.ended)
  end
  if #step.records > 0 then
    redis.call('HSET', P .. 'rec', unpack(step.records))
  end
  add_spares(P, step.spares)
  for pause, entries in pairs(step.holds_of) do
    redis.call('ZADD', P .. 'held:' .. pause, unpack(entries))
    redis.call('SADD', P .. 'pauses', pause)
  end
  for rule in pairs(step.hit) do
    redis.call('HSET', P .. 'rule:' .. rule, 'last_hit_at', now)
  end
  add_up(step.sums)
  local soonest = now + 1000
  for _, queue in pairs(step.queues) do
    redis.call('ZADD', P .. 'due:' .. queue[1] .. ':' .. queue[2], unpack(queue[4]))
    note_due(P, queue[1], queue[2], queue[3])
    soonest = math.min(soonest, queue[3])
  end
  if soonest < now + 1000 then
    redis.call('PUBLISH', 'fg:wake', P)
  end
end

-- Common fields that final statuses name, in the hash of this hour. A session writes each of them once, and how many it
-- has written is a field of the same hash, so that whatever takes them away takes the number away, too.
local function keep_commons(P, now, retention_ms, session, kept, commons)
  local hour = math.floor(now / 3600000)
  local key, field = P .. 'ended:' .. hour, 'commons:' .. session
  if kept > 0 and tonumber(redis.call('HGET', key, field) or 0) < kept then
    return false
  end
  if #commons > 0 then
    redis.call('HSET', key, field, kept + #commons / 2, unpack(commons))
    redis.call('PEXPIREAT', key, (hour + 1) * 3600000 + retention_ms)
  end
  return true
end

local function settle(keys, argv)
  local P, now = prefix_of(keys[1], 'lane'), now_ms()
  -- settle.Batch
  local session, retention_ms, holds, kinds, plain, hold_of, kind_of, others, kept, commons, rates =
    unpack(cmsgpack.unpack(argv[1]))
  if not keep_commons(P, now, retention_ms, session, kept, commons) then
    return 'K'
  end
  local claimed, cancels, ids = P .. 'claimed:' .. session, P .. 'cancels', {}
  for i = 1, #kind_of do
    ids[i] = string.sub(argv[3], 18 * i - 17, 18 * i)
    hold_of[i] = holds[hold_of[i]]
  end
  local barrier = tonumber(redis.call('HGET', keys[1], 'barrier') or 0)
  local held = redis.call('HMGET', claimed, unpack(ids))
  local marks = redis.call('EXISTS', cancels) == 1 and redis.call('HMGET', cancels, unpack(ids)) or {}
  local step = {
    P = P,
    now = now,
    retention_ms = retention_ms,
    argv = argv,
    hold_of = hold_of,
    sums = {},
    late_events = {},
    unclaim = {},
    gone = {},
    ended = {},
    records = {},
    queues = {},
    hit = {},
    spares = {},
    holds_of = {},
  }
  local answer, left_out, authors, told, as_said = {}, {}, {}, false, true
  for i, id in ipairs(ids) do
    local kind, said = kinds[kind_of[i]], 'O'
    if held[i] ~= hold_of[i] then
      said = 'S'
      as_said = as_said and not kind[PLAIN]
      stale(step, i, id, kind, others[i] or NOTHING_ELSE)
    elseif kind[PLAIN] then
      plain_end(step, i, id)
    elseif kind[GENERATION] >= 0 and kind[GENERATION] < barrier then
      said = 'R'
    elseif marks[i] and (kind[MOVE] ~= 'e' or kind[CLASS] == 'intercepted') then
      said = 'C'
      authors[#authors + 1] = '\0' .. author_of(marks[i])
    else
      other_end(step, i, id, kind, others[i] or NOTHING_ELSE)
    end
    answer[i] = said
    if said == 'O' then
      told = told or kind[TOLD]
    else
      left_out[#left_out + 1] = struct.pack('>I2', i - 1)
    end
  end
  if as_said then
    count_plain(P, plain)
  else
    for i, kind in ipairs(kind_of) do
      if kinds[kind][PLAIN] and answer[i] == 'O' then
        count_tags(step.sums, P, tags_of(step, i), 'queued', -1, kinds[kind][CLASS], 1)
      end
    end
  end
  write_down(step, claimed)
  count_rates(P, now, rates, answer)
  if told or #step.late_events > 0 then
    append_framed(P, argv[2] .. table.concat(step.late_events), left_out)
  end
  return table.concat(answer) .. table.concat(authors)
end

redis.register_function { function_name = STEP .. 'settle', callback = settle, flags = { 'allow-oom' } }

-- note: appends events that change no state (Escaped). KEYS: lane, events. ARGV: event, ...
local function note(keys, argv)
  append_events(prefix_of(keys[1], 'lane'), argv)
  return #argv
end

redis.register_function { function_name = STEP .. 'note', callback = note, flags = { 'allow-oom' } }

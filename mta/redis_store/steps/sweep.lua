-- A sweep's view of the queues, and its moves. A member of `due` is a delivery id; in `held`, `parked` and `spared` the
-- queue follows the id.

-- The rows of a zset or of a hash with their records: [next cursor, member, score, record, ...]; rows without a record
-- are left out.
local function with_records(rec, cursor, rows)
  local answer, ids = { cursor }, {}
  for i = 1, #rows, 2 do
    ids[#ids + 1] = string.sub(rows[i], 1, 18)
  end
  for from = 1, #ids, 1000 do
    local to = math.min(from + 999, #ids)
    local records = redis.call('HMGET', rec, unpack(ids, from, to))
    for i = from, to do
      if records[i - from + 1] then
        answer[#answer + 1] = rows[2 * i - 1]
        answer[#answer + 1] = rows[2 * i]
        answer[#answer + 1] = records[i - from + 1]
      end
    end
  end
  return answer
end

-- scan: a piece of a queue, or of what a pause holds, for a sweep. KEYS: lane, due or held, rec. ARGV: cursor, count.
-- ZSCAN sees at least once each member that is there during the whole walk. Deliveries that are claimed meanwhile are
-- settled by their worker.
local function scan(keys, argv)
  local page = redis.call('ZSCAN', keys[2], argv[1], 'COUNT', argv[2])
  return with_records(keys[3], page[1], page[2])
end

redis.register_function { function_name = STEP .. 'scan', callback = scan, flags = { 'no-writes', 'allow-oom' } }

-- first: the least scores of a zset, in order. KEYS: lane, held or spared, rec. ARGV: least score, count.
local function first(keys, argv)
  local rows = redis.call('ZRANGE', keys[2], argv[1], '+inf', 'BYSCORE', 'LIMIT', 0, argv[2], 'WITHSCORES')
  return with_records(keys[3], '0', rows)
end

redis.register_function { function_name = STEP .. 'first', callback = first, flags = { 'no-writes', 'allow-oom' } }

-- scan_claimed: a piece of what a session has claimed, with its records. KEYS: lane, claimed, rec. ARGV: cursor, count.
local function scan_claimed(keys, argv)
  local page = redis.call('HSCAN', keys[2], argv[1], 'COUNT', argv[2])
  return with_records(keys[3], page[1], page[2])
end

redis.register_function {
  function_name = STEP .. 'scan_claimed',
  callback = scan_claimed,
  flags = { 'no-writes', 'allow-oom' },
}

-- How a move changes the books of `n` deliveries of one kind; `from` and `source`: the class and the pause ('' = none)
-- that they leave.
local function count_move(sums, P, move, from, source, kind, n)
  local rule, tags, uncertain, left_rule = unpack(kind) -- sweep.Kind
  local of_rule = P .. 'rule:' .. rule
  local field = move == 'release' and 'queued' or move == 'hold' and 'held' or 'intercepted:queued'
  count_tags(sums, P, tags, from, -n, field, n)
  if source ~= '' then
    count(sums, P .. 'rule:' .. source, 'held', -n)
    if source ~= rule then
      count(sums, P .. 'rule:' .. source, 'other', n)
    end
  end
  if left_rule ~= '' then
    count(sums, P .. 'rule:' .. left_rule, 'deferred', -n)
    if left_rule ~= rule then
      count(sums, P .. 'rule:' .. left_rule, 'other', n)
    end
  end
  if move == 'release' then
    return
  end
  count(sums, of_rule, field, n, 'hits', n)
  if left_rule ~= rule and source ~= rule then
    count(sums, of_rule, 'met', n)
  end
  if move == 'intercept' and uncertain then
    count_tags(sums, P, tags, 'uncertain', n)
    count(sums, of_rule, 'uncertain', n)
  end
end

-- Deliveries by the zset that they are read in; `places` are theirs in the lists of the step.
local function by_source(P, source, queues, ids, queue_of)
  local groups, known = {}, {}
  for i, id in ipairs(ids) do
    local queue, member = queues[queue_of[i]], id
    local key = source == '' and queue_of[i] or 0
    if source ~= '' then
      member = id .. queue[1] .. '|' .. queue[2]
    end
    local group = known[key]
    if not group then
      group = { queue = queue, key = P .. 'due:' .. queue[1] .. ':' .. queue[2], members = {}, ids = {}, places = {} }
      if source ~= '' then
        group.key = P .. 'held:' .. source
      end
      known[key] = group
      groups[#groups + 1] = group
    end
    local at = #group.ids + 1
    group.ids[at], group.members[at], group.places[at] = id, member, i
  end
  return groups
end

-- The set of pauses that hold something names none that holds nothing.
local function tidy_pauses(P, pause)
  if pause ~= '' and redis.call('EXISTS', P .. 'held:' .. pause) == 0 then
    redis.call('SREM', P .. 'pauses', pause)
  end
end

-- unhold: held deliveries whose record nobody can read are due at once: the worker that claims one parks it. Its tags
-- are lost with its record: only the totals can follow. KEYS: lane, held, count, pauses, then due and agenda.
-- ARGV: pause, now (Unix ms), then id, place, domain, ...
local function unhold(keys, argv)
  local P, now = prefix_of(keys[1], 'lane'), tonumber(argv[2])
  for i = 3, #argv, 3 do
    local id, place, domain = argv[i], argv[i + 1], argv[i + 2]
    if redis.call('ZREM', keys[2], id .. place .. '|' .. domain) == 1 then
      redis.call('ZADD', P .. 'due:' .. place .. ':' .. domain, now, id)
      note_due(P, place, domain, now)
      redis.call('HINCRBY', P .. 'count', 'held', -1)
      redis.call('HINCRBY', P .. 'count', 'queued', 1)
      redis.call('HINCRBY', P .. 'rule:' .. argv[1], 'held', -1)
      redis.call('HINCRBY', P .. 'rule:' .. argv[1], 'other', 1)
    end
  end
  tidy_pauses(P, argv[1])
  redis.call('PUBLISH', 'fg:wake', P)
  return 'OK'
end

redis.register_function { function_name = STEP .. 'unhold', callback = unhold, flags = { 'allow-oom' } }

-- How many deliveries the round of a staged release may still let go here, and how many it has ('' = there is none).
local function room_of(key, round, share)
  if round == '' then
    return math.huge, 0
  end
  local at, n, closed = unpack(redis.call('HMGET', key, 'at', 'n', 'closed'))
  if not at or at < round then
    return share, 0
  end
  return (at > round or closed) and 0 or share - n, tonumber(n)
end

-- The round has let `n` deliveries go here so far.
local function note_round(key, round, n, keep_ms)
  redis.call('HSET', key, 'at', round, 'n', n)
  redis.call('HDEL', key, 'closed')
  redis.call('PEXPIRE', key, keep_ms)
end

-- move: intercepts, holds or releases what is still at its source. Never touches a delivery that was claimed, or went
-- elsewhere, since it was read.
-- KEYS: lane, rec, content, refs, count, events, pauses, spares, cancels, then due, agenda, held, spared, tag and rule
-- keys, and `released` of the pause.
-- ARGV[1]: msgpack of sweep.Batch (steps/sweep.py). A delivery that was attempted or counted otherwise since it was
-- read is left to the next
--   pass, or to whoever claims it. ARGV[2]: their events, framed.
-- Answers how many, or -1 when the lane's barrier is above `generation`.
local function move(keys, argv)
  local P = prefix_of(keys[1], 'lane')
  local how, source, generation, retention_ms, queues, kinds, ids, queue_of, kind_of, raws, results, shared, part =
    unpack(cmsgpack.unpack(argv[1])) -- sweep.Batch
  local round, share, keep_ms = unpack(part) -- sweep.Part
  if generation < tonumber(redis.call('HGET', keys[1], 'barrier') or 0) then
    return -1
  end
  local now, from = now_ms(), source == '' and 'queued' or 'held'
  local room, gone_before = room_of(P .. 'released:' .. source, round, share)
  local sums, gone, ended, records, met, moved, stays = {}, {}, {}, {}, {}, 0, {}
  local spares, adds, cancels = {}, {}, redis.call('EXISTS', P .. 'cancels') == 1
  local spared_until = {} -- by kind, as text: each number that is given to the server is made a text
  for _, group in ipairs(by_source(P, source, queues, ids, queue_of)) do
    local left, place, domain = {}, nil, nil
    local scores = redis.call('ZMSCORE', group.key, unpack(group.members))
    local found = redis.call('HMGET', P .. 'rec', unpack(group.ids))
    for at, i in ipairs(group.places) do
      if scores[at] and found[at] == raws[i] and moved < room then
        local id, kind = group.ids[at], kind_of[i]
        local rule, _, uncertain, _, spare_ms = unpack(kinds[kind]) -- sweep.Kind
        met[kind] = (met[kind] or 0) + 1
        moved = moved + 1
        left[#left + 1] = group.members[at]
        place, domain = unpack(queues[queue_of[i]])
        if how == 'intercept' then
          if spare_ms > 0 and not (cancels and redis.call('HEXISTS', P .. 'cancels', id) == 1) then
            spared_until[kind] = spared_until[kind] or string.format('%.0f', now + spare_ms)
            push(spares, rule, spared_until[kind], spared_member(id, 'queued', uncertain, place, domain))
          else
            gone[#gone + 1] = id
          end
          ended[#ended + 1] = id
          ended[#ended + 1] = results[i]
        else
          records[#records + 1] = id
          records[#records + 1] = results[i]
          if how == 'hold' then
            push(adds, 'held:' .. rule, scores[at], id .. place .. '|' .. domain)
          else
            note_due(P, place, domain, scores[at])
            push(adds, 'due:' .. place .. ':' .. domain, scores[at], id)
          end
        end
      else
        stays[#stays + 1] = struct.pack('>I2', i - 1)
      end
    end
    if #left > 0 then
      redis.call('ZREM', group.key, unpack(left))
      if source == '' then
        mend_agenda(P, group.queue[1], group.queue[2])
      end
    end
  end
  if moved == 0 then
    return 0
  end
  if round ~= '' then
    note_round(P .. 'released:' .. source, round, gone_before + moved, keep_ms)
  end
  add_spares(P, spares)
  for name, entries in pairs(adds) do
    redis.call('ZADD', P .. name, unpack(entries))
    if how == 'hold' then
      redis.call('SADD', P .. 'pauses', string.sub(name, 6))
    end
  end
  tidy_pauses(P, source)
  if #records > 0 then
    redis.call('HSET', P .. 'rec', unpack(records))
  end
  if #gone > 0 then
    redis.call('HDEL', P .. 'rec', unpack(gone))
    release_content(P, gone)
  end
  if #ended > 0 then
    note_ended(P, now, retention_ms, ended, shared)
  end
  for kind, n in pairs(met) do
    count_move(sums, P, how, from, source, kinds[kind], n)
    if how ~= 'release' then
      redis.call('HSET', P .. 'rule:' .. kinds[kind][1], 'last_hit_at', now)
    end
  end
  add_up(sums)
  append_framed(P, argv[2], stays)
  if how == 'release' then
    redis.call('PUBLISH', 'fg:wake', P)
  end
  return moved
end

redis.register_function { function_name = STEP .. 'move', callback = move, flags = { 'allow-oom' } }

-- drop_spared: undo copies whose time is over, or, early, the oldest ones, are let go. KEYS: lane, spared,
-- spares, rec, content, refs. ARGV: rule, most, early ('1'), now (Unix ms)
-- Answers how many.
local function drop_spared(keys, argv)
  local P = prefix_of(keys[1], 'lane')
  local until_ms = argv[3] == '1' and '+inf' or argv[4]
  local members = redis.call('ZRANGE', keys[2], '-inf', until_ms, 'BYSCORE', 'LIMIT', 0, argv[2])
  if #members > 0 then
    local ids = {}
    for i, member in ipairs(members) do
      ids[i] = string.sub(member, 1, 18)
    end
    unspare(P, argv[1], members)
    redis.call('HDEL', P .. 'rec', unpack(ids))
    release_content(P, ids)
  end
  return #members
end

redis.register_function { function_name = STEP .. 'drop_spared', callback = drop_spared, flags = { 'allow-oom' } }

-- barrier: decisions by rule tables below this generation answer OLD_RULES from now on. KEYS: lane. ARGV: generation.
local function barrier(keys, argv)
  if tonumber(argv[1]) > tonumber(redis.call('HGET', keys[1], 'barrier') or 0) then
    redis.call('HSET', keys[1], 'barrier', argv[1])
  end
  return 'OK'
end

redis.register_function { function_name = STEP .. 'barrier', callback = barrier, flags = { 'allow-oom' } }

-- An operator's orders about queued and held mail: look at it in order, make it due now, move it to another pool.

-- Whether one member stands behind another in a zset where both have the same score, by the ids of 18 bytes that they
-- begin with. Lua compares by locale.
local function stands_behind(id, other)
  for i = 1, 18 do
    local a, b = string.byte(id, i), string.byte(other, i)
    if a ~= b then
      return a > b
    end
  end
  return false
end

-- The rank of the first member behind (score, id); '' = the start.
local function rank_behind(due, score, id)
  if id == '' then
    return 0
  end
  local low, high = redis.call('ZCOUNT', due, '-inf', '(' .. score), redis.call('ZCOUNT', due, '-inf', score)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if stands_behind(redis.call('ZRANGE', due, middle, middle)[1], id) then
      high = middle
    else
      low = middle + 1
    end
  end
  return low
end

-- waiting_behind: a page of each of some queues, in the order in which their mail is due, or of what is parked. KEYS:
-- lane, rec, due or parked, ... ARGV: most of each, score, id.
-- Answers [[member, score, record or '', ...], ...].
local function waiting_behind(keys, argv)
  local answer = {}
  for k = 3, #keys do
    local from = rank_behind(keys[k], argv[2], argv[3])
    local rows = redis.call('ZRANGE', keys[k], from, from + tonumber(argv[1]) - 1, 'WITHSCORES')
    local ids, found = {}, {}
    for r = 1, #rows, 2 do
      ids[#ids + 1] = string.sub(rows[r], 1, 18)
    end
    local records = #ids > 0 and redis.call('HMGET', keys[2], unpack(ids)) or {}
    for i in ipairs(ids) do
      found[#found + 1] = rows[2 * i - 1]
      found[#found + 1] = rows[2 * i]
      found[#found + 1] = records[i] or ''
    end
    answer[k - 2] = found
  end
  return answer
end

redis.register_function {
  function_name = STEP .. 'waiting_behind',
  callback = waiting_behind,
  flags = { 'no-writes', 'allow-oom' },
}

-- make_due: deliveries that still wait in this queue for a later time are due now. Never leaves an agenda that is later
-- than its queue. KEYS: lane, due, agenda, shares. ARGV: now (Unix ms), place, domain, id, ...
-- Answers how many.
local function make_due(keys, argv)
  local P, now, place, domain = prefix_of(keys[1], 'lane'), tonumber(argv[1]), argv[2], argv[3]
  local ids, entries = {}, {}
  for i = 4, #argv do
    ids[#ids + 1] = argv[i]
  end
  local scores = redis.call('ZMSCORE', keys[2], unpack(ids))
  for i, id in ipairs(ids) do
    if scores[i] and tonumber(scores[i]) > now then
      entries[#entries + 1] = argv[1]
      entries[#entries + 1] = id
    end
  end
  if #entries > 0 then
    redis.call('ZADD', keys[2], unpack(entries))
    note_due(P, place, domain, now)
    redis.call('PUBLISH', 'fg:retry', place .. '|' .. domain) -- before workers claim them
    redis.call('PUBLISH', 'fg:wake', P)
  end
  return #entries / 2
end

redis.register_function { function_name = STEP .. 'make_due', callback = make_due, flags = { 'allow-oom' } }

-- change_pool: deliveries of one queue, or of those that a pause holds, go to the queue of another pool and the same
-- domain, and keep their due time; held ones stay held. Never touches a delivery that was claimed, went elsewhere
-- or has another record since it was read, and never leaves one in two queues.
-- KEYS: lane, rec, events, pools, then due, agenda and shares of both queues, or held.
-- ARGV[1]: msgpack of queue_work.Batch (steps/queue_work.py). ARGV[2]: their events, framed.
-- Answers how many, or -1 when the lane's barrier is above `generation`.
local function change_pool(keys, argv)
  local P = prefix_of(keys[1], 'lane')
  -- queue_work.Batch
  local generation, pause, place, domain, to_pool, to_place, ids, raws, changed = unpack(cmsgpack.unpack(argv[1]))
  if generation < tonumber(redis.call('HGET', keys[1], 'barrier') or 0) then
    return -1
  end
  local source, target = P .. 'due:' .. place .. ':' .. domain, P .. 'due:' .. to_place .. ':' .. domain
  local members, tail = ids, ''
  if pause ~= '' then
    source, target, tail, members = P .. 'held:' .. pause, P .. 'held:' .. pause, to_place .. '|' .. domain, {}
    for i, id in ipairs(ids) do
      members[i] = id .. place .. '|' .. domain
    end
  end
  local scores = redis.call('ZMSCORE', source, unpack(members))
  local found = redis.call('HMGET', P .. 'rec', unpack(ids))
  local left, entries, records, stays, first = {}, {}, {}, {}, nil
  for i, id in ipairs(ids) do
    local due = scores[i] and found[i] == raws[i] and tonumber(scores[i])
    if due then
      left[#left + 1] = members[i]
      entries[#entries + 1] = scores[i]
      entries[#entries + 1] = id .. tail
      records[#records + 1] = id
      records[#records + 1] = changed[i]
      first = math.min(first or due, due)
    else
      stays[#stays + 1] = struct.pack('>I2', i - 1)
    end
  end
  if #left == 0 then
    return 0
  end
  redis.call('ZREM', source, unpack(left))
  redis.call('ZADD', target, unpack(entries))
  redis.call('HSET', P .. 'rec', unpack(records))
  redis.call('SADD', P .. 'pools', to_pool)
  if pause == '' then
    mend_agenda(P, place, domain)
    note_due(P, to_place, domain, first)
    redis.call('PUBLISH', 'fg:wake', P)
  end
  append_framed(P, argv[2], stays)
  return #left
end

redis.register_function { function_name = STEP .. 'change_pool', callback = change_pool, flags = { 'allow-oom' } }

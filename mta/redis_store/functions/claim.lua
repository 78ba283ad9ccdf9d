-- agenda: the queues that are due first. KEYS: lane. ARGV: most, pool, ... Answers [now, pool, domain, time, ...].
local function agenda(keys, argv)
  local P = prefix_of(keys[1], 'lane')
  local answer = { tostring(now_ms()) }
  for i = 2, #argv do
    local rows = redis.call('ZRANGE', P .. 'agenda:' .. argv[i], 0, tonumber(argv[1]) - 1, 'WITHSCORES')
    for r = 1, #rows, 2 do
      answer[#answer + 1] = argv[i]
      answer[#answer + 1] = rows[r]
      answer[#answer + 1] = rows[r + 1]
    end
  end
  return answer
end

redis.register_function { function_name = 'fg1_agenda', callback = agenda, flags = { 'no-writes', 'allow-oom' } }

-- claim: deliveries that are due move from their queue to the session, with one fencing token for the call.
-- Never leaves a delivery in neither, nor an agenda that is later than its queue.
-- KEYS: lane, claimed, rec, content, parked, count, then due and agenda of each queue.
-- ARGV: session, most bytes, pool, domain, most, pool, domain, most, ...
-- Answers [token, [pool, domain, id, record, content, id, ...], ...]; content is false when it is in parts.
local function claim(keys, argv)
  touch(keys)
  local P = prefix_of(keys[1], 'lane')
  local claimed, now, room = P .. 'claimed:' .. argv[1], now_ms(), tonumber(argv[2])
  local token = false
  local answer = { '' }
  for w = 3, #argv, 3 do
    local pool, domain, most = argv[w], argv[w + 1], tonumber(argv[w + 2])
    local due = P .. 'due:' .. pool .. ':' .. domain
    local row = { pool, domain }
    while room > 0 and most > 0 do
      local ids = redis.call('ZRANGE', due, '-inf', now, 'BYSCORE', 'LIMIT', 0, math.min(most, 10))
      if #ids == 0 then
        break
      end
      local messages = {}
      for i, id in ipairs(ids) do
        messages[i] = string.sub(id, 1, 16)
      end
      local records = redis.call('HMGET', P .. 'rec', unpack(ids))
      local contents = redis.call('HMGET', P .. 'content', unpack(messages))
      token = token or redis.call('HINCRBY', keys[1], 'token', 1)
      local holds = {}
      for i, id in ipairs(ids) do
        if records[i] then
          holds[#holds + 1] = id
          holds[#holds + 1] = token .. '|' .. pool .. '|' .. domain
          row[#row + 1] = id
          row[#row + 1] = records[i]
          row[#row + 1] = contents[i]
          room = room - (contents[i] and #contents[i] or 0)
        else
          -- Its tags are lost with its record: only the totals can follow.
          redis.call('ZADD', P .. 'parked', now, id .. pool .. '|' .. domain)
          redis.call('HINCRBY', P .. 'count', 'queued', -1)
          redis.call('HINCRBY', P .. 'count', 'parked', 1)
        end
      end
      redis.call('ZREM', due, unpack(ids))
      if #holds > 0 then
        redis.call('HSET', claimed, unpack(holds))
      end
      most = most - #ids
    end
    mend_agenda(P, pool, domain)
    if #row > 2 then
      answer[#answer + 1] = row
    end
  end
  answer[1] = tostring(token or 0)
  return answer
end

redis.register_function { function_name = 'fg1_claim', callback = claim, flags = { 'allow-oom' } }

-- reclaim: what a dead session held is due again, and each record counts how often that happened (its first byte).
-- KEYS: lane, claimed, rec, ingest. ARGV: session, most. Answers how many; at 0 the session holds nothing here any more.
local function reclaim(keys, argv)
  touch(keys)
  local P = prefix_of(keys[1], 'lane')
  local now = now_ms()
  local rows = redis.call('HRANDFIELD', keys[2], tonumber(argv[2]), 'WITHVALUES')
  local ids = {}
  for i = 1, #rows, 2 do
    local id = rows[i]
    local _, pool, domain = string.match(rows[i + 1], '^(%d+)|([^|]*)|(.*)$')
    local record = redis.call('HGET', P .. 'rec', id)
    if record then
      local lost = math.min(string.byte(record, 1) + 1, 255)
      redis.call('HSET', P .. 'rec', id, string.char(lost) .. string.sub(record, 2))
    end
    redis.call('ZADD', P .. 'due:' .. pool .. ':' .. domain, now, id)
    redis.call('ZADD', P .. 'agenda:' .. pool, 'LT', now, domain)
    ids[#ids + 1] = id
  end
  if #ids > 0 then
    redis.call('HDEL', keys[2], unpack(ids))
    redis.call('PUBLISH', 'fg:wake', P)
  end
  -- A batch of the dead session that is still on its way must neither run twice nor be taken for one that ran.
  redis.call('HSET', P .. 'ingest', argv[1], 'x' .. now)
  return #ids
end

redis.register_function { function_name = 'fg1_reclaim', callback = reclaim, flags = { 'allow-oom' } }

-- forget_ingest: drops what is remembered of sessions that died before a time. KEYS: lane, ingest. ARGV: before (Unix ms).
local function forget_ingest(keys, argv)
  local rows = redis.call('HGETALL', keys[2])
  local gone = {}
  for i = 1, #rows, 2 do
    if string.sub(rows[i + 1], 1, 1) == 'x' and tonumber(string.sub(rows[i + 1], 2)) < tonumber(argv[1]) then
      gone[#gone + 1] = rows[i]
    end
  end
  if #gone > 0 then
    redis.call('HDEL', keys[2], unpack(gone, 1, math.min(#gone, 2000)))
  end
  return #gone
end

redis.register_function { function_name = 'fg1_forget_ingest', callback = forget_ingest, flags = { 'allow-oom' } }

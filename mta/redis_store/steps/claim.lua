-- Callers look again each second, so the agenda leaves out queues that are due later than that.
local AHEAD_MS = 2000

-- agenda: the queues that are due first in each share, now or soon. KEYS: lane. ARGV: most of a share, now (Unix ms),
-- pool, ...
-- Answers [now, place, domain, time, ...].
local function agenda(keys, argv)
  local P = prefix_of(keys[1], 'lane')
  local most, until_ms = argv[1], tonumber(argv[2]) + AHEAD_MS
  local answer = { argv[2] }

  local function look(place)
    local rows =
      redis.call('ZRANGE', P .. 'agenda:' .. place, '-inf', until_ms, 'BYSCORE', 'LIMIT', 0, most, 'WITHSCORES')
    for r = 1, #rows, 2 do
      answer[#answer + 1] = place
      answer[#answer + 1] = rows[r]
      answer[#answer + 1] = rows[r + 1]
    end
  end

  for i = 3, #argv do
    look(argv[i])
    for _, share in ipairs(redis.call('SMEMBERS', P .. 'shares:' .. argv[i])) do
      look(argv[i] .. '~' .. share)
    end
  end
  return answer
end

redis.register_function { function_name = STEP .. 'agenda', callback = agenda, flags = { 'no-writes', 'allow-oom' } }

-- claim: deliveries that are due move from their queue to the session, with one fencing token for the call.
-- Never leaves a delivery in neither, nor an agenda that is later than its queue.
-- KEYS: lane, claimed, rec, ingest, holders, content, parked, count, then due, agenda and shares of each
-- queue.
-- ARGV: session, number, most bytes, now (Unix ms), place, domain, most, place, domain, most, ...
-- Answers [token, [place, domain, id, record, content, id, ...], ...]; content is false when it is in parts, 'x' and
-- the author of the order when the delivery is to be canceled (who held it then is gone); or LOST (the session is
-- dead), LATE (this number was recalled). Numbers rise; one claim of a session is under way in a lane.
local function claim(keys, argv)
  local P = prefix_of(keys[1], 'lane')
  local claimed, now, room = P .. 'claimed:' .. argv[1], tonumber(argv[4]), tonumber(argv[3])
  local known = redis.call('HMGET', P .. 'ingest', argv[1], 'c:' .. argv[1])
  if known[1] and string.sub(known[1], 1, 1) == 'x' then
    return 'LOST'
  end
  if known[2] and tonumber(argv[2]) <= tonumber(known[2]) then
    return 'LATE'
  end
  local token, cancels = false, redis.call('EXISTS', P .. 'cancels') == 1
  local answer, holds = { '' }, {}
  for w = 5, #argv, 3 do
    local place, domain, most = argv[w], argv[w + 1], tonumber(argv[w + 2])
    local due = P .. 'due:' .. place .. ':' .. domain
    local row, hold = { place, domain }, nil
    while room > 0 and most > 0 do
      local page = math.min(most, 10)
      local ids = redis.call('ZRANGE', due, '-inf', now, 'BYSCORE', 'LIMIT', 0, page)
      if #ids == 0 then
        break
      end
      local messages = {}
      for i, id in ipairs(ids) do
        messages[i] = string.sub(id, 1, 16)
      end
      local records = redis.call('HMGET', P .. 'rec', unpack(ids))
      local contents = redis.call('HMGET', P .. 'content', unpack(messages))
      local marks = cancels and redis.call('HMGET', P .. 'cancels', unpack(ids)) or {}
      token = token or redis.call('HINCRBY', keys[1], 'token', 1)
      hold = hold or token .. '|' .. place .. '|' .. domain
      for i, id in ipairs(ids) do
        if records[i] then
          holds[#holds + 1] = id
          holds[#holds + 1] = hold
          row[#row + 1] = id
          row[#row + 1] = records[i]
          row[#row + 1] = marks[i] and 'x' .. author_of(marks[i]) or contents[i]
          room = room - (contents[i] and #contents[i] or 0)
        else
          -- Its tags are lost with its record: only the totals can follow.
          redis.call('ZADD', P .. 'parked', now, id .. place .. '|' .. domain)
          redis.call('HINCRBY', P .. 'count', 'queued', -1)
          redis.call('HINCRBY', P .. 'count', 'parked', 1)
        end
      end
      redis.call('ZREM', due, unpack(ids))
      most = #ids < page and 0 or most - #ids
    end
    mend_agenda(P, place, domain)
    if #row > 2 then
      answer[#answer + 1] = row
    end
  end
  if #holds > 0 then
    call_sliced('HSET', claimed, holds)
    redis.call('SADD', P .. 'holders', argv[1])
  end
  answer[1] = tostring(token or 0)
  return answer
end

redis.register_function { function_name = STEP .. 'claim', callback = claim, flags = { 'allow-oom' } }

-- Calls of an ended session that are still on their way must neither run nor count as calls that ran. The session is
-- forgotten after an hour.
local function bar(P, session)
  local now = now_ms()
  redis.call('HSET', P .. 'ingest', session, 'x' .. now)
  redis.call('HDEL', P .. 'ingest', 'c:' .. session)
  redis.call('SREM', P .. 'holders', session)
  local marks = redis.call('HGETALL', P .. 'ingest')
  for i = 1, #marks, 2 do
    if string.sub(marks[i + 1], 1, 1) == 'x' and tonumber(string.sub(marks[i + 1], 2)) < now - 3600000 then
      redis.call('HDEL', P .. 'ingest', marks[i])
    end
  end
end

-- reclaim: deliveries that a dead session had claimed are due again. KEYS: lane, claimed, rec, ingest, holders.
-- ARGV: session, most, now (Unix ms)
-- Answers how many; at 0 the session holds nothing here any more.
local function reclaim(keys, argv)
  local P = prefix_of(keys[1], 'lane')
  bar(P, argv[1])
  return give_back(
    P,
    keys[2],
    redis.call('HRANDFIELD', keys[2], tonumber(argv[2]), 'WITHVALUES'),
    true,
    tonumber(argv[3])
  )
end

redis.register_function { function_name = STEP .. 'reclaim', callback = reclaim, flags = { 'allow-oom' } }

-- recall: after a claim whose answer was lost. It can not run any more, and what it took goes back, as never attempted.
-- KEYS: lane, claimed, rec, ingest, holders. ARGV: session, number of the lost claim, last token that the session has
-- seen, now (Unix ms).
local function recall(keys, argv)
  local P = prefix_of(keys[1], 'lane')
  redis.call('HSET', P .. 'ingest', 'c:' .. argv[1], argv[2])
  local rows, unseen = redis.call('HGETALL', keys[2]), {}
  for i = 1, #rows, 2 do
    local token = tonumber(string.match(rows[i + 1], '^(%d+)|'))
    if token and token > tonumber(argv[3]) then
      unseen[#unseen + 1] = rows[i]
      unseen[#unseen + 1] = rows[i + 1]
    end
  end
  return give_back(P, keys[2], unseen, false, tonumber(argv[4]))
end

redis.register_function { function_name = STEP .. 'recall', callback = recall, flags = { 'allow-oom' } }

-- farewell: a session that ends in good order leaves nothing behind. KEYS: lane, claimed, rec, ingest, holders.
-- ARGV: session, now (Unix ms)
local function farewell(keys, argv)
  local P = prefix_of(keys[1], 'lane')
  local many = give_back(P, keys[2], redis.call('HGETALL', keys[2]), false, tonumber(argv[2]))
  bar(P, argv[1])
  return many
end

redis.register_function { function_name = STEP .. 'farewell', callback = farewell, flags = { 'allow-oom' } }

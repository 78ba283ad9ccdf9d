-- piece: a part of a large content, gone by itself if no accept comes. KEYS: parts. ARGV: number, bytes, seconds
local function piece(keys, argv)
  redis.call('HSET', keys[1], argv[1], argv[2])
  redis.call('EXPIRE', keys[1], argv[3])
  return 'OK'
end

redis.register_function { function_name = 'fg1_piece', callback = piece }

-- accept: all messages of one flush, or none. Never leaves a message without content, record, queue entry, counters and events.
-- KEYS: lane, ingest, rec, content, refs, count, events, due..., agenda..., tag..., parts...
-- ARGV[1]: msgpack [session, number, backlog_hard, queues, records, refs, tags, accepted, events, part keys]
--   queues: [[pool, domain, earliest, [due, id, due, id, ...]], ...]; records: [id, record, ...]; refs: [message, n, ...]; tags: [tag, n, ...]
-- ARGV[2...]: message id, content, ... Answers OK, DUP (this number ran before), VOID (it was voided), LOST (the session is dead), BACKLOG.
local function accept(keys, argv)
  touch(keys)
  local P = prefix_of(keys[1], 'lane')
  local session, number, backlog_hard, queues, records, refs, tags, accepted, events, parts = unpack(cmsgpack.unpack(argv[1]))
  local last = redis.call('HGET', P .. 'ingest', session)
  if last then
    local mark = string.sub(last, 1, 1)
    if mark == 'x' then
      return 'LOST'
    end
    local done = tonumber(string.sub(last, 2))
    if number <= done then
      return (number == done and mark == 'v') and 'VOID' or 'DUP'
    end
  end
  if backlog_hard > 0 and redis.call('XLEN', P .. 'events') >= backlog_hard then
    return 'BACKLOG'
  end
  redis.call('HSET', P .. 'ingest', session, 'n' .. number)
  redis.call('HSET', P .. 'content', unpack(argv, 2))
  call_sliced('HSET', P .. 'rec', records)
  if #refs > 0 then
    redis.call('HSET', P .. 'refs', unpack(refs))
  end
  for _, part in ipairs(parts) do
    redis.call('PERSIST', part)
  end
  local pools = {}
  for _, queue in ipairs(queues) do
    local pool, domain, earliest, entries = unpack(queue)
    call_sliced('ZADD', P .. 'due:' .. pool .. ':' .. domain, entries)
    redis.call('ZADD', P .. 'agenda:' .. pool, 'LT', earliest, domain)
    if not pools[pool] then
      pools[pool] = true
      redis.call('SADD', P .. 'pools', pool)
    end
  end
  redis.call('HINCRBY', P .. 'count', 'accepted', accepted)
  redis.call('HINCRBY', P .. 'count', 'queued', accepted)
  for i = 1, #tags, 2 do
    local key = P .. 'tag:' .. tags[i]
    redis.call('HINCRBY', key, 'accepted', tags[i + 1])
    redis.call('HINCRBY', key, 'queued', tags[i + 1])
  end
  append_events(P, events)
  redis.call('PUBLISH', 'fg:wake', P)
  return 'OK'
end

redis.register_function { function_name = 'fg1_accept', callback = accept }

-- void: makes a batch that has not run refuse for ever. Answers RAN when it has run, VOID, or LOST: the
-- session was given up, so nobody can tell.
-- KEYS: lane, ingest. ARGV: session, number
local function void(keys, argv)
  touch(keys)
  local ingest = keys[2]
  local number = tonumber(argv[2])
  local last = redis.call('HGET', ingest, argv[1])
  if last and string.sub(last, 1, 1) == 'n' and tonumber(string.sub(last, 2)) >= number then
    return 'RAN'
  end
  if last and string.sub(last, 1, 1) == 'x' then
    return 'LOST'
  end
  redis.call('HSET', ingest, argv[1], 'v' .. number)
  return 'VOID'
end

redis.register_function { function_name = 'fg1_void', callback = void, flags = { 'allow-oom' } }

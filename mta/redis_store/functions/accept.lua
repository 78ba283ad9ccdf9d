-- piece: a part of a large content, gone by itself if no accept comes. KEYS: parts. ARGV: number, bytes, seconds
local function piece(keys, argv)
  redis.call('HSET', keys[1], argv[1], argv[2])
  redis.call('EXPIRE', keys[1], argv[3])
  return 'OK'
end

redis.register_function { function_name = 'fg1_piece', callback = piece }

-- What rules decided at the door: deliveries that end in the step that accepts them (counted as queued until here), and messages that are not accepted at all.
-- door: [retention_ms, [[id, pool, domain, rule, tags, final, spare_ms], ...], [[rule, tags, recipients], ...]]
local function at_the_door(P, door)
  local retention_ms, intercepted, rejected = unpack(door)
  local now, sums, ended, spares, hit = now_ms(), {}, {}, {}, {}
  for _, item in ipairs(intercepted) do
    local id, pool, domain, rule, tags, final, spare_ms = unpack(item)
    local of_rule = P .. 'rule:' .. rule
    count_tags(sums, P, tags, 'queued', -1, 'intercepted:door', 1)
    count(sums, of_rule, 'intercepted:door', 1)
    count(sums, of_rule, 'met', 1, 'hits', 1)
    hit[of_rule] = true
    ended[#ended + 1] = id
    ended[#ended + 1] = 'i:door:0:' .. rule .. '\0' .. final
    if spare_ms > 0 then
      push(spares, rule, now + spare_ms, spared_member(id, 'door', false, pool, domain))
      redis.call('SADD', P .. 'pools', pool)
    end
  end
  for _, item in ipairs(rejected) do
    local rule, tags, recipients = unpack(item)
    count_tags(sums, P, tags, 'rejected', recipients)
    count(sums, P .. 'rule:' .. rule, 'hits', recipients)
    hit[P .. 'rule:' .. rule] = true
  end
  if #ended > 0 then
    note_ended(P, now, retention_ms, ended)
  end
  add_spares(P, spares)
  for of_rule in pairs(hit) do
    redis.call('HSET', of_rule, 'last_hit_at', now)
  end
  add_up(sums)
end

-- accept: all messages of one flush, or none. Never leaves a message without content, record, queue entry, counters and events; what ends at once has
-- its counters, events and final status, and, where it is spared, record and content.
-- KEYS: lane, ingest, rec, content, refs, count, events, spares, pools, cancels, due..., agenda..., tag..., rule..., spared..., parts...
-- ARGV[1]: msgpack [session, number, backlog_hard, generation, queues, records, refs, tags, accepted, part keys, door]
--   queues: [[pool, domain, earliest, [due, id, due, id, ...]], ...]; records: [id, record, ...]; refs: [message, n, ...]; tags: [tag, n, ...];
--   door: [] = rules ended and refused nothing, see above
-- ARGV[2]: the events, framed. ARGV[3...]: message id, content, ... Answers OK, DUP (this number ran before), VOID (it was voided), LOST (the session is dead), BACKLOG,
-- RULES (decided by a rule table below the barrier; the number is not used up).
local function accept(keys, argv)
  touch(keys)
  local P = prefix_of(keys[1], 'lane')
  local session, number, backlog_hard, generation, queues, records, refs, tags, accepted, parts, door = unpack(cmsgpack.unpack(argv[1]))
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
  if generation >= 0 and generation < tonumber(redis.call('HGET', keys[1], 'barrier') or 0) then
    return 'RULES'
  end
  if backlog_hard > 0 and redis.call('XLEN', P .. 'events') >= backlog_hard then
    return 'BACKLOG'
  end
  redis.call('HSET', P .. 'ingest', session, 'n' .. number)
  if argv[3] then
    redis.call('HSET', P .. 'content', unpack(argv, 3))
  end
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
  if accepted > 0 then
    redis.call('HINCRBY', P .. 'count', 'accepted', accepted)
    redis.call('HINCRBY', P .. 'count', 'queued', accepted)
  end
  for i = 1, #tags, 2 do
    local key = P .. 'tag:' .. tags[i]
    redis.call('HINCRBY', key, 'accepted', tags[i + 1])
    redis.call('HINCRBY', key, 'queued', tags[i + 1])
  end
  if door[1] then
    at_the_door(P, door)
  end
  append_framed(P, argv[2])
  if queues[1] then
    redis.call('PUBLISH', 'fg:wake', P)
  end
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

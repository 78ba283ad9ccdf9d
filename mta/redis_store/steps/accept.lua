-- piece: a part of a large content, gone by itself if no accept comes. KEYS: parts. ARGV: number, bytes, seconds
local function piece(keys, argv)
  redis.call('HSET', keys[1], argv[1], argv[2])
  redis.call('EXPIRE', keys[1], argv[3])
  return 'OK'
end

redis.register_function { function_name = STEP .. 'piece', callback = piece }

-- How a class is counted, and how its final status begins, where a delivery ends as it is accepted.
local function ending_at_acceptance(class, decider)
  if class == 'intercepted' then
    return 'intercepted:door', 'i:door:0:' .. decider .. '\0'
  end
  return class, string.sub(class, 1, 1) .. '\0'
end

-- The decisions made at acceptance: deliveries that end in the step that accepts them (counted as queued until here),
-- and messages that are refused.
-- Those of a rule are counted for that rule as well.
local function apply_decisions(P, decided)
  local retention_ms, ended_now, rejected = unpack(decided) -- accept.Decided
  local now, sums, ended, spares, hit = now_ms(), {}, {}, {}, {}
  for _, item in ipairs(ended_now) do
    local id, place, domain, class, kind, decider, tags, final, spare_ms = unpack(item) -- accept.Ended
    local field, status = ending_at_acceptance(class, decider)
    count_tags(sums, P, tags, 'queued', -1, field, 1)
    if kind == 'rule' then
      local of_rule = P .. 'rule:' .. decider
      count(sums, of_rule, field, 1)
      count(sums, of_rule, 'met', 1, 'hits', 1)
      hit[of_rule] = true
      if spare_ms > 0 then
        push(spares, decider, now + spare_ms, spared_member(id, 'door', false, place, domain))
        redis.call('SADD', P .. 'pools', (pool_and_share(place)))
      end
    end
    ended[#ended + 1] = id
    ended[#ended + 1] = status .. final
  end
  for _, item in ipairs(rejected) do
    local kind, decider, tags, recipients = unpack(item) -- accept.Refused
    count_tags(sums, P, tags, 'rejected', recipients)
    if kind == 'rule' then
      count(sums, P .. 'rule:' .. decider, 'hits', recipients)
      hit[P .. 'rule:' .. decider] = true
    end
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

-- Why a batch is not accepted; nil = it is.
local function refusal(keys, P, session, number, backlog_hard, generation, once)
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
  local known = once[1] and idempotency.known(P, session, once)
  if known then
    return known
  end
  if generation >= 0 and generation < tonumber(redis.call('HGET', keys[1], 'barrier') or 0) then
    return 'RULES'
  end
  if backlog_hard > 0 and redis.call('XLEN', P .. 'events') >= backlog_hard then
    return 'BACKLOG'
  end
end

-- The contents that were put there before a step that refuses them: those that no delivery needs go again. The batch
-- may have run before, or its messages may have come in another one, so only refs and records tell.
-- `owners` names those of several recipients.
local function drop_contents(P, records, owners)
  local recipients = {}
  for i = 1, #records, 2 do
    recipients[string.sub(records[i], 1, 16)] = 1
  end
  for i = 1, #owners, 2 do
    recipients[owners[i]] = owners[i + 1]
  end
  for message, many in pairs(recipients) do
    local number, needed = 1, redis.call('HEXISTS', P .. 'refs', message) == 1
    while not needed and number <= many do
      needed = redis.call('HEXISTS', P .. 'rec', message .. struct.pack('>I2', number)) == 1
      number = number + 1
    end
    if not needed then
      redis.call('HDEL', P .. 'content', message)
    end
  end
end

-- accept: all messages of one flush, or none. Never leaves a message without content, record, queue entry, counters and
-- events. A delivery that ends at once has its counters, events and final status, and, where it is spared, record and
-- content. The session may claim deliveries in this step that it delivers itself, where no older delivery is due in
-- the same share of the queue; the token is 'a<number>'.
-- KEYS: lane, ingest, rec, content, refs, count, events, spares, pools, cancels, claimed, holders, due..., agenda...,
-- shares..., tag..., rule..., spared..., parts..., idem_use, idem...
-- ARGV[1]: msgpack of accept.Batch (see accept.py, whose fields a test compares with the locals here).
-- ARGV[2]: the events, framed. ARGV[3...]: message id, content, ...; none where a command before the step put them
-- there, in one transaction with it.
-- Answers [OK, how many were claimed of each queue, ...],
-- DUP (this number ran before), VOID (it was voided), LOST (the session is dead), BACKLOG,
-- RULES (decided by a rule table below the barrier), [KEYS, ...] (some idempotent calls of it may not run, see
-- idempotency.known); neither uses the number up.
local function accept(keys, argv)
  local P = prefix_of(keys[1], 'lane')
  local session, number, backlog_hard, generation, queues, records, refs, tags, accepted, parts, owners, decided, once =
    unpack(cmsgpack.unpack(argv[1])) -- accept.Batch
  local refused = refusal(keys, P, session, number, backlog_hard, generation, once)
  if refused then
    drop_contents(P, records, owners)
    return refused
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
  local places, dues, answer, holds, waiting, now = {}, {}, { 'OK' }, {}, false, now_ms()
  for at, queue in ipairs(queues) do
    dues[at] = P .. 'due:' .. queue[1] .. ':' .. queue[2]
  end
  local older = 0 -- queues that have mail, due or not: nearly always none, so all are asked about in one command
  for from = 1, #dues, 2000 do
    older = older + redis.call('EXISTS', unpack(dues, from, math.min(from + 1999, #dues)))
  end
  for at, queue in ipairs(queues) do
    local place, domain, entries, take = unpack(queue) -- accept.Queue
    local due = dues[at]
    if older > 0 and take > 0 and redis.call('ZRANGE', due, '-inf', now, 'BYSCORE', 'LIMIT', 0, 1)[1] then
      take = 0
    end
    answer[at + 1] = take
    for i = 2, 2 * take, 2 do
      holds[#holds + 1] = entries[i]
      holds[#holds + 1] = 'a' .. number .. '|' .. place .. '|' .. domain
    end
    if #entries > 2 * take then
      waiting = true
      local earliest = entries[2 * take + 1]
      for i = 2 * take + 3, #entries, 2 do
        earliest = math.min(earliest, entries[i])
      end
      call_sliced('ZADD', due, entries, 2 * take + 1)
      note_due(P, place, domain, earliest)
    end
    if not places[place] then
      places[place] = true
      redis.call('SADD', P .. 'pools', (pool_and_share(place)))
    end
  end
  if #holds > 0 then
    call_sliced('HSET', P .. 'claimed:' .. session, holds)
    redis.call('SADD', P .. 'holders', session)
  end
  if accepted > 0 then
    redis.call('HINCRBY', P .. 'count', 'accepted', accepted)
    redis.call('HINCRBY', P .. 'count', 'queued', accepted)
  end
  for i = 1, #tags, 2 do
    local key = P .. 'tag:' .. tags[i]
    count_tag(key, 'accepted', tags[i + 1])
    redis.call('HINCRBY', key, 'queued', tags[i + 1])
  end
  if decided[1] then
    apply_decisions(P, decided)
  end
  if once[1] then
    idempotency.keep(P, session, once)
  end
  append_framed(P, argv[2])
  if waiting then
    redis.call('PUBLISH', 'fg:wake', P)
  end
  return answer
end

redis.register_function { function_name = STEP .. 'accept', callback = accept }

-- void: makes a batch that has not run refuse for ever. If it has run, the deliveries that it claimed go back, as never
-- attempted.
-- Answers RAN when it has run (or a later one has), VOID, or LOST: the session was given up, so nobody can tell.
-- KEYS: lane, ingest, claimed, rec. ARGV: session, number, now (Unix ms)
local function void(keys, argv)
  local P, ingest, number = prefix_of(keys[1], 'lane'), keys[2], tonumber(argv[2])
  local last = redis.call('HGET', ingest, argv[1])
  local mark, done = string.sub(last or '', 1, 1), tonumber(string.sub(last or 'n0', 2))
  if mark == 'x' then
    return 'LOST'
  end
  if number > done then
    redis.call('HSET', ingest, argv[1], 'v' .. number)
    return 'VOID'
  end
  if mark == 'v' and number == done then
    return 'VOID'
  end
  local rows, unseen = redis.call('HGETALL', keys[3]), {}
  for i = 1, #rows, 2 do
    if string.match(rows[i + 1], '^a(%d+)|') == argv[2] then
      unseen[#unseen + 1] = rows[i]
      unseen[#unseen + 1] = rows[i + 1]
    end
  end
  give_back(P, keys[3], unseen, false, tonumber(argv[3]))
  return 'RAN'
end

redis.register_function { function_name = STEP .. 'void', callback = void, flags = { 'allow-oom' } }

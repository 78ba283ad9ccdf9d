-- scan: a piece of a queue for a sweep. KEYS: lane, due, rec. ARGV: cursor, count. Answers [next cursor, id, record, ...].
-- ZSCAN sees at least once what is in the queue during the whole walk; what is claimed meanwhile is its worker's to settle.
local function scan(keys, argv)
  local page = redis.call('ZSCAN', keys[2], argv[1], 'COUNT', argv[2])
  local answer = { page[1] }
  local ids = {}
  for i = 1, #page[2], 2 do
    ids[#ids + 1] = page[2][i]
  end
  for from = 1, #ids, 1000 do
    local to = math.min(from + 999, #ids)
    local records = redis.call('HMGET', keys[3], unpack(ids, from, to))
    for i = from, to do
      if records[i - from + 1] then
        answer[#answer + 1] = ids[i]
        answer[#answer + 1] = records[i - from + 1]
      end
    end
  end
  return answer
end

redis.register_function { function_name = 'fg1_scan', callback = scan, flags = { 'no-writes', 'allow-oom' } }

-- intercept: ends what is still in that queue. Never touches a delivery that was claimed, or went elsewhere, since it was read.
-- KEYS: lane, due, agenda, rec, content, refs, count, events, then tag and rule keys.
-- ARGV[1]: msgpack [pool, domain, generation, retention_ms, [[id, rule, tags, event, uncertain, left_rule], ...]]
-- Answers how many, or -1 when the lane's barrier is above `generation`.
local function intercept(keys, argv)
  touch(keys)
  local P = prefix_of(keys[1], 'lane')
  local pool, domain, generation, retention_ms, items = unpack(cmsgpack.unpack(argv[1]))
  if generation < tonumber(redis.call('HGET', keys[1], 'barrier') or 0) then
    return -1
  end
  local ids = {}
  for i, item in ipairs(items) do
    ids[i] = item[1]
  end
  local here = redis.call('ZMSCORE', keys[2], unpack(ids))
  local now, sums, gone, ended, events, hit = now_ms(), {}, {}, {}, {}, {}
  for i, item in ipairs(items) do
    if here[i] then
      local id, rule, tags, event, uncertain, left_rule = unpack(item)
      local of_rule = P .. 'rule:' .. rule
      gone[#gone + 1] = id
      ended[#ended + 1] = id
      ended[#ended + 1] = 'i:queued:' .. (uncertain and 1 or 0) .. ':' .. rule
      events[#events + 1] = event
      hit[of_rule] = true
      count_tags(sums, P, tags, 'queued', -1)
      count_tags(sums, P, tags, 'intercepted:queued', 1)
      count(sums, of_rule, 'intercepted:queued', 1)
      count(sums, of_rule, 'hits', 1)
      if uncertain then
        count_tags(sums, P, tags, 'uncertain', 1)
        count(sums, of_rule, 'uncertain', 1)
      end
      if left_rule ~= rule then
        count(sums, of_rule, 'met', 1)
      end
      if left_rule ~= '' then
        count(sums, P .. 'rule:' .. left_rule, 'deferred', -1)
        if left_rule ~= rule then
          count(sums, P .. 'rule:' .. left_rule, 'other', 1)
        end
      end
    end
  end
  if #gone == 0 then
    return 0
  end
  redis.call('ZREM', keys[2], unpack(gone))
  mend_agenda(P, pool, domain)
  redis.call('HDEL', P .. 'rec', unpack(gone))
  release_content(P, gone)
  note_ended(P, now, retention_ms, ended)
  for of_rule in pairs(hit) do
    redis.call('HSET', of_rule, 'last_hit_at', now)
  end
  add_up(sums)
  append_events(P, events)
  return #gone
end

redis.register_function { function_name = 'fg1_intercept', callback = intercept, flags = { 'allow-oom' } }

-- barrier: decisions by rule tables below this generation answer OLD_RULES from now on. KEYS: lane. ARGV: generation.
local function barrier(keys, argv)
  if tonumber(argv[1]) > tonumber(redis.call('HGET', keys[1], 'barrier') or 0) then
    redis.call('HSET', keys[1], 'barrier', argv[1])
  end
  return 'OK'
end

redis.register_function { function_name = 'fg1_barrier', callback = barrier, flags = { 'allow-oom' } }

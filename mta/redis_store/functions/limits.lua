-- Limits of a pool and domain, exact over all processes. KEYS: slots or rate, both of `fg:{limits:<pool>:<domain>}:`.

-- limits_take: connection slots for a session, never more than `limit` in all. ARGV: session, limit, want. Answers how many.
local function limits_take(keys, argv)
  local held = 0
  for _, n in ipairs(redis.call('HVALS', keys[1])) do
    held = held + tonumber(n)
  end
  local granted = math.max(0, math.min(tonumber(argv[3]), tonumber(argv[2]) - held))
  if granted > 0 then
    redis.call('HINCRBY', keys[1], argv[1], granted)
  end
  return granted
end

redis.register_function { function_name = 'fg1_limits_take', callback = limits_take, flags = { 'allow-oom' } }

-- limits_give: slots come back. ARGV: session, how many
local function limits_give(keys, argv)
  local held = tonumber(redis.call('HGET', keys[1], argv[1]) or 0)
  if held <= tonumber(argv[2]) then
    redis.call('HDEL', keys[1], argv[1])
  else
    redis.call('HINCRBY', keys[1], argv[1], -tonumber(argv[2]))
  end
  return 'OK'
end

redis.register_function { function_name = 'fg1_limits_give', callback = limits_give, flags = { 'allow-oom' } }

-- limits_tokens: instants on a grid `interval` ms apart, each given once, at most a second ahead. ARGV: interval, most
-- Answers [now, first, how many]. The key lives as long as it says something.
local function limits_tokens(keys, argv)
  local interval, most, now = tonumber(argv[1]), tonumber(argv[2]), now_ms()
  local first = math.max(now, tonumber(redis.call('GET', keys[1]) or 0))
  local many = 0
  if first <= now + 1000 then
    many = math.min(most, math.floor((now + 1000 - first) / interval) + 1)
    redis.call('SET', keys[1], string.format('%.3f', first + many * interval), 'PX', math.ceil(first + many * interval - now) + 60000)
  end
  return { tostring(now), string.format('%.3f', first), many }
end

redis.register_function { function_name = 'fg1_limits_tokens', callback = limits_tokens, flags = { 'allow-oom' } }

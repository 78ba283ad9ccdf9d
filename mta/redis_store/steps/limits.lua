-- Limits of a pool and domain, exact over all processes. KEYS: slots or rate, both of `fg:{limits:<pool>:<domain>}:`.

-- limits_hold: makes a session's connection slots `wanted`, never more than `limit` in all, never fewer than are in
-- use.
-- It says how many they are, not how many more, so it may be repeated. ARGV: session, limit, wanted, least. Answers how
-- many.
local function limits_hold(keys, argv)
  local others, rows = 0, redis.call('HGETALL', keys[1])
  for i = 1, #rows, 2 do
    if rows[i] ~= argv[1] then
      others = others + tonumber(rows[i + 1])
    end
  end
  local held = math.max(tonumber(argv[4]), math.min(tonumber(argv[3]), tonumber(argv[2]) - others))
  if held > 0 then
    redis.call('HSET', keys[1], argv[1], held)
  else
    redis.call('HDEL', keys[1], argv[1])
  end
  return held
end

redis.register_function { function_name = STEP .. 'limits_hold', callback = limits_hold, flags = { 'allow-oom' } }

-- limits_tokens: instants on a grid `interval` ms apart, each given once, at most a second ahead. ARGV: interval, most
-- Answers [now, first, how many]. The key lives as long as it says something.
local function limits_tokens(keys, argv)
  local interval, most, now = tonumber(argv[1]), tonumber(argv[2]), now_ms()
  local first = math.max(now, tonumber(redis.call('GET', keys[1]) or 0))
  if first > now + interval + 61000 then
    first = now -- further ahead than any instant is given: the server's clock was set back
  end
  local many = 0
  if first <= now + 1000 then
    many = math.min(most, math.floor((now + 1000 - first) / interval) + 1)
    redis.call(
      'SET',
      keys[1],
      string.format('%.3f', first + many * interval),
      'PX',
      math.ceil(first + many * interval - now) + 60000
    )
  end
  return { tostring(now), string.format('%.3f', first), many }
end

redis.register_function { function_name = STEP .. 'limits_tokens', callback = limits_tokens, flags = { 'allow-oom' } }

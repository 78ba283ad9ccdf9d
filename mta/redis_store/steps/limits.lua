-- Limits of a site, exact over all processes. KEYS: of `fg:{limits:<site>}:`.

-- limits_hold: makes a session's connection slots in each scope `wanted`, never more than `limit` in all, never fewer
-- than `least`, which are in use. Where one scope has no slot beyond `least` that it wants, no scope gets more than it
-- had. It says how many they are, not how many more, so it may be repeated.
-- A refusal is published, so that others give up what they do not use; for a second after it, so is what is given back.
-- KEYS: wanted, and the slots of each scope. ARGV: session, site, and for each scope: limit, wanted, least.
-- Answers [the scope that has none, 0 = each has, how many in each scope].
local function limits_hold(keys, argv)
  local scopes, binds, granted, kept, freed = #keys - 1, 0, {}, {}, false
  for i = 1, scopes do
    local limit, wanted, least = tonumber(argv[3 * i]), tonumber(argv[3 * i + 1]), tonumber(argv[3 * i + 2])
    local others, mine, rows = 0, 0, redis.call('HGETALL', keys[i + 1])
    for j = 1, #rows, 2 do
      if rows[j] == argv[1] then
        mine = tonumber(rows[j + 1])
      else
        others = others + tonumber(rows[j + 1])
      end
    end
    granted[i] = math.max(least, math.min(wanted, limit - others))
    kept[i] = math.max(least, math.min(wanted, mine, limit - others))
    freed = freed or granted[i] < mine
    if binds == 0 and wanted > least and granted[i] == least then
      binds = i
    end
  end
  local answer = { binds }
  for i = 1, scopes do
    local held = binds == 0 and granted[i] or kept[i]
    if held > 0 then
      redis.call('HSET', keys[i + 1], argv[1], held)
    else
      redis.call('HDEL', keys[i + 1], argv[1])
    end
    answer[i + 1] = held
  end
  if binds > 0 then
    if redis.call('PTTL', keys[1]) < 800 then
      redis.call('SET', keys[1], 1, 'PX', 1000)
      redis.call('PUBLISH', 'fg:slots', 'wanted ' .. argv[2])
    end
  elseif freed and redis.call('EXISTS', keys[1]) == 1 then
    redis.call('PUBLISH', 'fg:slots', 'free ' .. argv[2])
  end
  return answer
end

redis.register_function { function_name = STEP .. 'limits_hold', callback = limits_hold, flags = { 'allow-oom' } }

-- limits_tokens: instants on a grid of its own `interval` (ms) for each scope, each given once, in all scopes or in
-- none. The first instant is one for all scopes, at most `ahead` ms from now.
-- ARGV: most, ahead, and the interval of each scope.
-- Answers [now, first instant, how many, the scope that comes last]. The keys live as long as they say something.
local function limits_tokens(keys, argv)
  local most, ahead, now = tonumber(argv[1]), tonumber(argv[2]), now_ms()
  local first, binds, slowest = now, 1, 0
  for i = 1, #keys do
    local interval = tonumber(argv[i + 2])
    local free = tonumber(redis.call('GET', keys[i]) or 0)
    -- further ahead than any instant is given: the server's clock was set back
    if free > first and free <= now + interval + 61000 then
      first, binds = free, i
    end
    slowest = math.max(slowest, interval)
  end
  local many = 0
  if first <= now + ahead then
    many = math.min(most, math.floor((now + ahead - first) / slowest) + 1)
    for i = 1, #keys do
      local free = first + many * tonumber(argv[i + 2])
      redis.call('SET', keys[i], string.format('%.3f', free), 'PX', math.ceil(free - now) + 60000)
    end
  end
  return { tostring(now), string.format('%.3f', first), many, binds }
end

redis.register_function { function_name = STEP .. 'limits_tokens', callback = limits_tokens, flags = { 'allow-oom' } }

-- Staged releases: orders of pauses that let a part of their mail go. Each goes in rounds, whose ids rise. The step
-- `move` (sweep.lua) lets mail go for a round; `released:<pause>` says of the last round here: at = its id,
-- n = deliveries that it let go, closed = 1 once it may let no more go.

-- release_change: writes an order where the one that its author knew stands. KEYS: head, releases. ARGV: pause, the
-- order as it was known ('' = none), the new one. Answers 1, or 0 where another one stands there.
local function release_change(keys, argv)
  local pause, before, after = unpack(argv)
  if (redis.call('HGET', keys[2], pause) or '') ~= before then
    return 0
  end
  redis.call('HSET', keys[2], pause, after)
  redis.call('PUBLISH', 'fg:release', pause)
  return 1
end

redis.register_function { function_name = STEP .. 'release_change', callback = release_change, flags = { 'allow-oom' } }

-- release_close: ends a round in the lane. KEYS: lane, released. ARGV: round, for how long it is remembered (ms).
-- Answers how many deliveries the round let go; 0 where a later one has begun.
local function release_close(keys, argv)
  local round, known = argv[1], redis.call('HGET', keys[2], 'at') or ''
  if known > round then
    return 0
  end
  if known < round then
    redis.call('HSET', keys[2], 'at', round, 'n', 0)
  end
  redis.call('HSET', keys[2], 'closed', 1)
  redis.call('PEXPIRE', keys[2], argv[2])
  return tonumber(redis.call('HGET', keys[2], 'n'))
end

redis.register_function { function_name = STEP .. 'release_close', callback = release_close, flags = { 'allow-oom' } }

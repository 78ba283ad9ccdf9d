-- The replies that reactions count, over all processes.

-- reaction_seen: adds replies, and looks whether the last `needed` of them came within the window. One process is told
-- so, and is given 5 s to act. The replies stay, so that the next one tells another process where that one has died.
-- KEYS: list of "<Unix ms> <reply>", the newest first; mark that a process acts. ARGV: needed, window (ms), most in the
-- answer, replies. Answers the newest of the replies where there are enough and nobody acts, else none.
local function reaction_seen(keys, argv)
  local needed, window, now = tonumber(argv[1]), tonumber(argv[2]), now_ms()
  for i = 4, #argv do
    redis.call('LPUSH', keys[1], now .. ' ' .. argv[i])
  end
  redis.call('LTRIM', keys[1], 0, needed - 1)
  redis.call('PEXPIRE', keys[1], window)
  local oldest = redis.call('LINDEX', keys[1], needed - 1)
  local enough = oldest and now - tonumber(string.match(oldest, '^%d+')) <= window
  if enough and redis.call('SET', keys[2], 1, 'PX', 5000, 'NX') then
    return redis.call('LRANGE', keys[1], 0, tonumber(argv[3]) - 1)
  end
  return {}
end

redis.register_function { function_name = STEP .. 'reaction_seen', callback = reaction_seen, flags = { 'allow-oom' } }

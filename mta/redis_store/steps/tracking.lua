-- Opens and clicks of mail.

-- engaged: puts events of deliveries into their lane's stream. KEYS: lane, events. ARGV: encoded events.
local function engaged(keys, argv)
  append_events(prefix_of(keys[1], 'lane'), argv)
  return redis.status_reply('OK')
end

redis.register_function { function_name = STEP .. 'engaged', callback = engaged }

-- link_count: ARGV: seconds for which the day is kept, and for each link: its field, how many. KEYS: the clicks of one
-- day (`fg:{links}:<day>`).
local function link_count(keys, argv)
  for i = 2, #argv, 2 do
    redis.call('HINCRBY', keys[1], argv[i], argv[i + 1])
  end
  redis.call('EXPIRE', keys[1], argv[1])
  return redis.status_reply('OK')
end

redis.register_function { function_name = STEP .. 'link_count', callback = link_count }

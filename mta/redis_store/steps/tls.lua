-- The counts of TLS results. KEYS: those of one day (`fg:{tls}:<day>`).

-- tls_count: ARGV: seconds for which the day is kept, and for each result: its field, how many.
local function tls_count(keys, argv)
  for i = 2, #argv, 2 do
    redis.call('HINCRBY', keys[1], argv[i], argv[i + 1])
  end
  redis.call('EXPIRE', keys[1], argv[1])
  return redis.status_reply('OK')
end

redis.register_function { function_name = STEP .. 'tls_count', callback = tls_count, flags = { 'allow-oom' } }

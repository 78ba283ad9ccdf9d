-- The counters of many rules at one moment. KEYS: the lane, then hashes. Answers [[field, value, ...], ...].
local function hashes(keys, argv)
  local rows = {}
  for i = 2, #keys do
    rows[i - 1] = redis.call('HGETALL', keys[i])
  end
  return rows
end

redis.register_function { function_name = STEP .. 'hashes', callback = hashes, flags = { 'no-writes' } }

-- The counts of tags that brakes watch, by buckets of time. The bucket is that of the server's clock.

-- rates_sum: the counts of windows, which have 10 buckets. KEYS: lane, then a rate key each. ARGV: milliseconds of a
-- bucket, of each. Answers hits, counted, ...
local function rates_sum(keys, argv)
  local now, found = now_ms(), {}
  for i = 2, #keys do
    local first = math.floor(now / tonumber(argv[i - 1])) - 9
    local fields, hits, counted = redis.call('HGETALL', keys[i]), 0, 0
    for at = 1, #fields, 2 do
      local kind, bucket = string.sub(fields[at], 1, 1), tonumber(string.sub(fields[at], 2))
      if bucket >= first and kind == 'h' then
        hits = hits + tonumber(fields[at + 1])
      elseif bucket >= first then
        counted = counted + tonumber(fields[at + 1])
      end
    end
    found[#found + 1] = hits
    found[#found + 1] = counted
  end
  return found
end

redis.register_function { function_name = STEP .. 'rates_sum', callback = rates_sum, flags = { 'allow-oom' } }

-- The counts of tags that brakes watch, by buckets of time. The bucket is that of the server's clock.

-- Those of the numbers whose settlement was carried out.
local function carried_out(numbers, answer)
  local many = 0
  for _, number in ipairs(numbers) do
    many = many + (answer[number] == 'O' and 1 or 0)
  end
  return many
end

local RATES_KEPT_MS = 2764800000 -- 32 days: more than the longest window

-- Counts of tags that brakes watch, once the tag has had enough mail in this lane. A new bucket drops old ones.
local function count_rates(P, now, rates, answer)
  for _, rate in ipairs(rates) do
    local name, brake, bucket_ms, least, counted, hits = unpack(rate) -- settle.Rate
    local many = carried_out(counted, answer)
    if many > 0 and tonumber(redis.call('HGET', P .. 'tag:' .. name, 'accepted') or 0) >= least then
      local member = brake .. ':' .. name
      local key, bucket = P .. 'rate:' .. member, math.floor(now / bucket_ms)
      redis.call('ZADD', P .. 'rates', now, member)
      if redis.call('HINCRBY', key, 'n' .. bucket, many) == many then
        for _, field in ipairs(redis.call('HKEYS', key)) do
          if tonumber(string.sub(field, 2)) < bucket - 9 then
            redis.call('HDEL', key, field)
          end
        end
        redis.call('PEXPIRE', key, 11 * bucket_ms)
        redis.call('PEXPIRE', P .. 'rates', RATES_KEPT_MS)
      end
      if #hits > 0 then
        redis.call('HINCRBY', key, 'h' .. bucket, carried_out(hits, answer))
      end
    end
  end
end

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

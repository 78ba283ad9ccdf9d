-- The quota of a tenant. KEYS: the hash of its use (hour = Unix hours, in_hour, in_day).

-- The use in the hour of the caller's clock, or in a later one that the store has seen: [hour, in_hour, in_day].
local function quota_use(key, hour)
  local found = redis.call('HMGET', key, 'hour', 'in_hour', 'in_day')
  local at = tonumber(found[1] or hour)
  local in_hour, in_day = tonumber(found[2] or 0), tonumber(found[3] or 0)
  if at < hour then
    in_hour = 0
    if math.floor(at / 24) < math.floor(hour / 24) then
      in_day = 0
    end
    at = hour
  end
  return at, in_hour, in_day
end

-- quota_take: reserves deliveries, never more than the quota has. Deliveries beyond those that are needed are a
-- sixteenth at most of those that are left then, so that processes which use none keep little from the others.
-- ARGV: hour, per hour, per day (0 = no bound), needed, more, milliseconds for which the use is remembered.
-- Answers [granted, hour, which bound is reached: '', 'h' or 'd'].
local function quota_take(keys, argv)
  local hour, in_hour, in_day = quota_use(keys[1], tonumber(argv[1]))
  local per_hour, per_day = tonumber(argv[2]), tonumber(argv[3])
  local needed, more = tonumber(argv[4]), tonumber(argv[5])
  local left, binds = math.huge, ''
  if per_hour > 0 then
    left, binds = per_hour - in_hour, 'h'
  end
  if per_day > 0 and per_day - in_day <= left then
    left, binds = per_day - in_day, 'd'
  end
  left = math.max(0, left)
  local granted = needed
  if left >= needed then
    granted, binds = needed + math.min(more, math.floor((left - needed) / 16)), ''
  else
    granted = left
  end
  redis.call('HSET', keys[1], 'hour', hour, 'in_hour', in_hour + granted, 'in_day', in_day + granted)
  redis.call('PEXPIRE', keys[1], argv[6])
  return { granted, hour, binds }
end

redis.register_function { function_name = STEP .. 'quota_take', callback = quota_take }

-- quota_back: deliveries that were reserved in an hour are not accepted. ARGV: hour, deliveries
local function quota_back(keys, argv)
  local told, many = tonumber(argv[1]), tonumber(argv[2])
  if redis.call('EXISTS', keys[1]) == 0 then
    return 0
  end
  local hour, in_hour, in_day = quota_use(keys[1], told)
  if hour == told then
    in_hour = math.max(0, in_hour - many)
  end
  if math.floor(hour / 24) == math.floor(told / 24) then
    in_day = math.max(0, in_day - many)
  end
  redis.call('HSET', keys[1], 'hour', hour, 'in_hour', in_hour, 'in_day', in_day)
  return many
end

redis.register_function { function_name = STEP .. 'quota_back', callback = quota_back, flags = { 'allow-oom' } }

-- quota_used: ARGV: hour. Answers [hour, in_hour, in_day].
local function quota_used(keys, argv)
  return { quota_use(keys[1], tonumber(argv[1])) }
end

redis.register_function {
  function_name = STEP .. 'quota_used',
  callback = quota_used,
  flags = { 'no-writes', 'allow-oom' },
}

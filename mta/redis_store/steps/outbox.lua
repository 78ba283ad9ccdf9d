-- lease: a lane's journal. KEYS: owner, position (of `fg:{journal}:`). ARGV: lane, journal, lease ms ('0' gives it
-- back). Answers [1 or 0, position].
local function lease(keys, argv)
  local lane, journal, ms, now = argv[1], argv[2], tonumber(argv[3]), now_ms()
  local known = redis.call('HGET', keys[1], lane)
  if known then
    local has, until_ = string.match(known, '^([^|]*)|(%d+)$')
    -- Further ahead than a lease lasts: the server's clock was set back.
    if has ~= journal and tonumber(until_) > now and (ms == 0 or tonumber(until_) <= now + ms) then
      return { 0, '' }
    end
  end
  if ms == 0 then
    redis.call('HDEL', keys[1], lane)
  else
    redis.call('HSET', keys[1], lane, journal .. '|' .. (now + ms))
  end
  return { 1, redis.call('HGET', keys[2], lane) or '0-0' }
end

redis.register_function { function_name = STEP .. 'lease', callback = lease, flags = { 'allow-oom' } }

-- journaled: all up to `position` is durable, if the lane is still this journal's. KEYS: owner, position. ARGV: lane,
-- journal, position
local function journaled(keys, argv)
  local known = redis.call('HGET', keys[1], argv[1])
  if not known or string.match(known, '^([^|]*)|') ~= argv[2] then
    return 0
  end
  redis.call('HSET', keys[2], argv[1], argv[3])
  return 1
end

redis.register_function { function_name = STEP .. 'journaled', callback = journaled, flags = { 'allow-oom' } }

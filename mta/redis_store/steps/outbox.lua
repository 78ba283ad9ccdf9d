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

-- stream_end: epoch, end and length of a lane's stream. KEYS: lane (or the head of the
-- rules), events. ARGV: position, '1' = count from the end of the stream.
-- Answers [epoch, id of the newest entry, how many entries up to `position` were ever added, birth of the lane];
-- entries that were trimmed count.
local function stream_end(keys, argv)
  local epoch = tonumber(redis.call('HGET', keys[1], 'epoch') or 1)
  local born = redis.call('HGET', keys[1], 'born') or ''
  if redis.call('EXISTS', keys[2]) == 0 then
    return { epoch, '0-0', 0, born }
  end
  local said, facts = redis.call('XINFO', 'STREAM', keys[2]), {}
  for i = 1, #said, 2 do
    facts[said[i]] = said[i + 1]
  end
  local added = facts['entries-added']
  if argv[2] == '1' then
    added = added - #redis.call('XRANGE', keys[2], '(' .. argv[1], '+')
  else
    added = added - facts['length'] + #redis.call('XRANGE', keys[2], '-', argv[1])
  end
  return { epoch, facts['last-generated-id'], added, born }
end

redis.register_function {
  function_name = STEP .. 'stream_end',
  callback = stream_end,
  flags = { 'no-writes', 'allow-oom' },
}

-- raise_epoch: the lane's stream lost entries that were read. KEYS: lane. ARGV: the epoch that was seen. Answers the
-- epoch now; one that was raised meanwhile is not raised again.
local function raise_epoch(keys, argv)
  local epoch = tonumber(redis.call('HGET', keys[1], 'epoch') or 1)
  if epoch == tonumber(argv[1]) then
    epoch = epoch + 1
    redis.call('HSET', keys[1], 'epoch', epoch)
  end
  return epoch
end

redis.register_function { function_name = STEP .. 'raise_epoch', callback = raise_epoch, flags = { 'allow-oom' } }

-- tags_at_rest: counters of tags whose mail has all ended, and which nobody has read or changed for a while.
-- KEYS: the lane, then counters of tags. ARGV[1]: for how many seconds.
-- Answers [place among the tags (from 1), [field, value, ...], ...].
local function tags_at_rest(keys, argv)
  local least, found = tonumber(argv[1]), {}
  for i = 2, #keys do
    local idle = redis.call('OBJECT', 'IDLETIME', keys[i])
    if idle and idle >= least then
      local waiting = redis.call('HMGET', keys[i], 'queued', 'held', 'parked')
      local rests = true
      for f = 1, 3 do
        rests = rests and tonumber(waiting[f] or 0) == 0
      end
      if rests then
        found[#found + 1] = i - 1
        found[#found + 1] = redis.call('HGETALL', keys[i])
      end
    end
  end
  return found
end

redis.register_function {
  function_name = STEP .. 'tags_at_rest',
  callback = tags_at_rest,
  flags = { 'no-writes', 'allow-oom' },
}

-- drop_tags: counters that history has, if they are still as it has them. KEYS: the lane, then counters of tags.
-- ARGV[1]: msgpack [[field, value, ...], ...], one for each. Answers how many were dropped.
local function drop_tags(keys, argv)
  local dropped = 0
  for i, fields in ipairs(cmsgpack.unpack(argv[1])) do
    local now, same = redis.call('HGETALL', keys[i + 1]), true
    local known = {}
    for f = 1, #fields, 2 do
      known[fields[f]] = fields[f + 1]
    end
    for f = 1, #now, 2 do
      same = same and known[now[f]] == now[f + 1]
    end
    if same and #now == #fields then
      redis.call('UNLINK', keys[i + 1])
      dropped = dropped + 1
    end
  end
  return dropped
end

redis.register_function { function_name = STEP .. 'drop_tags', callback = drop_tags, flags = { 'allow-oom' } }

-- Suppressions, in 256 shares by a hash of the subject, and what every process is told of them.

-- suppressions_tell: announces suppressions, or counts those that were removed. KEYS: head, changes. ARGV:
-- fingerprints (8 bytes each), how many were removed, random. Answers the number of the announcement.
local function suppressions_tell(keys, argv)
  redis.call('HSETNX', keys[1], 'born', argv[3])
  redis.call('HINCRBY', keys[1], 'removed', argv[2])
  local number = redis.call('HINCRBY', keys[1], 'number', 1)
  redis.call('XADD', keys[2], 'MAXLEN', '~', 600, number .. '-0', 'p', argv[1], 't', now_ms())
  redis.call('PUBLISH', 'fg:entry', keys[1])
  return number
end

redis.register_function {
  function_name = STEP .. 'suppressions_tell',
  callback = suppressions_tell,
  flags = { 'allow-oom' },
}

-- suppressions_recent: the fingerprints of the last announcements. KEYS: changes. ARGV: how old they may be (ms).
local function suppressions_recent(keys, argv)
  local oldest, found = now_ms() - argv[1], {}
  for _, row in ipairs(redis.call('XREVRANGE', keys[1], '+', '-')) do
    if tonumber(row[2][4]) < oldest then
      break
    end
    found[#found + 1] = row[2][2]
  end
  return table.concat(found)
end

redis.register_function {
  function_name = STEP .. 'suppressions_recent',
  callback = suppressions_recent,
  flags = { 'no-writes' },
}

-- suppressions_put: keeps suppressions of one share. KEYS: entries, ends. ARGV: name, value, end (Unix ms, 0 = none),
-- ... Answers how many are new.
local function suppressions_put(keys, argv)
  local new = 0
  for i = 1, #argv, 3 do
    new = new + redis.call('HSET', keys[1], argv[i], argv[i + 1])
    if argv[i + 2] == '0' then
      redis.call('ZREM', keys[2], argv[i])
    else
      redis.call('ZADD', keys[2], argv[i + 2], argv[i])
    end
  end
  return new
end

redis.register_function { function_name = STEP .. 'suppressions_put', callback = suppressions_put }

-- suppressions_remove: KEYS: entries, ends. ARGV: names. Answers how many there were.
local function suppressions_remove(keys, argv)
  redis.call('ZREM', keys[2], unpack(argv))
  return redis.call('HDEL', keys[1], unpack(argv))
end

redis.register_function {
  function_name = STEP .. 'suppressions_remove',
  callback = suppressions_remove,
  flags = { 'allow-oom' },
}

-- suppressions_over: takes those away that have expired. KEYS: entries, ends. ARGV: now (Unix ms), most. Answers how
-- many.
local function suppressions_over(keys, argv)
  local names = redis.call('ZRANGE', keys[2], '-inf', argv[1], 'BYSCORE', 'LIMIT', 0, argv[2])
  if #names > 0 then
    redis.call('ZREM', keys[2], unpack(names))
    redis.call('HDEL', keys[1], unpack(names))
  end
  return #names
end

redis.register_function {
  function_name = STEP .. 'suppressions_over',
  callback = suppressions_over,
  flags = { 'allow-oom' },
}

-- suppressions_names: a page of the names. KEYS: entries. ARGV: cursor, count. Answers the next cursor, and the names,
-- each behind its length (2 bytes).
local function suppressions_names(keys, argv)
  local found, names = redis.call('HSCAN', keys[1], argv[1], 'COUNT', argv[2]), {}
  for i = 1, #found[2], 2 do
    names[#names + 1] = struct.pack('>I2', #found[2][i]) .. found[2][i]
  end
  return { found[1], table.concat(names) }
end

redis.register_function {
  function_name = STEP .. 'suppressions_names',
  callback = suppressions_names,
  flags = { 'no-writes' },
}

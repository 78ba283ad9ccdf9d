-- Tables of entries that change seldom and that processes follow: a hash of entries with the field version
-- ("<number>|<random>"), and a zset with the number of each entry's last change, also of entries that are gone.

-- Moves the version of a table and tells those that follow it.
local function entry_changed(table_, changes, id, mark)
  local version = redis.call('HGET', table_, 'version') or '0'
  local number = tonumber(string.match(version, '^%d+')) + 1
  redis.call('HSET', table_, 'version', number .. '|' .. mark)
  redis.call('ZADD', changes, number, id)
  redis.call('PUBLISH', 'fg:entry', table_)
end

-- entry_put: keeps an entry that stands as the caller saw it. KEYS: table, changes. ARGV: id, value, the value that it
-- replaces ('' = there must be none), most entries, random, then a tenant and the most entries of it, if that is
-- bounded (values are JSON then). Answers 1; 0: it stands otherwise; -1: there are too many; -2: of the tenant.
local function entry_put(keys, argv)
  local id, value, wanted, most, mark, tenant, share = unpack(argv)
  local stands = redis.call('HGET', keys[1], id) or ''
  if stands == value then
    return 1
  end
  if stands ~= wanted then
    return 0
  end
  if stands == '' and redis.call('HLEN', keys[1]) > tonumber(most) then
    return -1
  end
  if stands == '' and share then
    local left, all = tonumber(share), redis.call('HGETALL', keys[1])
    for i = 1, #all, 2 do
      if all[i] ~= 'version' and cjson.decode(all[i + 1]).tenant == tenant then
        left = left - 1
      end
    end
    if left <= 0 then
      return -2
    end
  end
  redis.call('HSET', keys[1], id, value)
  entry_changed(keys[1], keys[2], id, mark)
  return 1
end

redis.register_function { function_name = STEP .. 'entry_put', callback = entry_put, flags = { 'allow-oom' } }

-- entry_remove: takes an entry away. KEYS: table, changes. ARGV: id, random, and the value that it must have, if any.
-- Where that does not matter it writes in any case: a second call after a lost answer waits for the replicas, too.
local function entry_remove(keys, argv)
  if argv[3] and redis.call('HGET', keys[1], argv[1]) ~= argv[3] then
    return 0
  end
  entry_changed(keys[1], keys[2], argv[1], argv[2])
  return redis.call('HDEL', keys[1], argv[1])
end

redis.register_function { function_name = STEP .. 'entry_remove', callback = entry_remove, flags = { 'allow-oom' } }

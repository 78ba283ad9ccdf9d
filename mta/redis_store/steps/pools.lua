-- The IP pools of the cluster: a table of entries as in entries.lua, which a caller changes as it saw the whole of it.

-- pools_put: keeps a pool, or removes it. KEYS: table, changes. ARGV: id, value ('' = remove), the version that the
-- caller saw, most pools, random. Answers 1; 0: the table has another version; -1: there are too many. A call that is
-- repeated finds its own random number.
local function pools_put(keys, argv)
  local id, value, seen, most, mark = unpack(argv)
  local version = redis.call('HGET', keys[1], 'version') or '0|'
  if string.match(version, '|(.*)$') == mark then
    return 1
  end
  if version ~= seen then
    return 0
  end
  if value == '' then
    redis.call('HDEL', keys[1], id)
  elseif redis.call('HEXISTS', keys[1], id) == 0 and redis.call('HLEN', keys[1]) > tonumber(most) then
    return -1
  else
    redis.call('HSET', keys[1], id, value)
  end
  entry_changed(keys[1], keys[2], id, mark)
  return 1
end

redis.register_function { function_name = STEP .. 'pools_put', callback = pools_put, flags = { 'allow-oom' } }

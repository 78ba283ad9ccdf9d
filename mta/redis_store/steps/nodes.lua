-- Agreements of nodes when they start: the names that are used, and the time of day.

-- clock: Unix ms by the server's clock. KEYS: the anchor of a lane.
redis.register_function { function_name = STEP .. 'clock', callback = now_ms, flags = { 'no-writes', 'allow-oom' } }

-- node_name: writes the entry of a name if it is still as the writer saw it ('' = not there; a new entry '' removes
-- it).
-- KEYS: nodes. ARGV: name, entry as seen, new entry. Answers 1, or 0 when it has changed meanwhile.
local function node_name(keys, argv)
  local name, seen, entry = argv[1], argv[2], argv[3]
  if (redis.call('HGET', keys[1], name) or '') ~= seen then
    return 0
  end
  if entry == '' then
    redis.call('HDEL', keys[1], name)
  else
    redis.call('HSET', keys[1], name, entry)
  end
  return 1
end

redis.register_function { function_name = STEP .. 'node_name', callback = node_name, flags = { 'allow-oom' } }

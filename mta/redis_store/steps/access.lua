-- API tokens, and what people ordered beside the rule table.

-- token_put: keeps an entry. KEYS: tokens. ARGV: field, value, most fields, new version. Answers 1; 0: there are too
-- many.
local function token_put(keys, argv)
  if redis.call('HEXISTS', keys[1], argv[1]) == 0 and redis.call('HLEN', keys[1]) >= tonumber(argv[3]) then
    return 0
  end
  redis.call('HSET', keys[1], argv[1], argv[2], 'version', argv[4])
  return 1
end

redis.register_function { function_name = STEP .. 'token_put', callback = token_put, flags = { 'allow-oom' } }

-- token_remove: takes an entry away. KEYS: tokens. ARGV: field, new version. Answers how many there were. It writes in
-- any case: a second call after a lost answer waits for the replicas, too.
local function token_remove(keys, argv)
  redis.call('HSET', keys[1], 'version', argv[2])
  return redis.call('HDEL', keys[1], argv[1])
end

redis.register_function { function_name = STEP .. 'token_remove', callback = token_remove, flags = { 'allow-oom' } }

-- audit: appends an event to the lane of the rule table. KEYS: head, events. ARGV: event
local function audit(keys, argv)
  append_events(prefix_of(keys[1], 'head'), argv)
  return #argv
end

redis.register_function { function_name = STEP .. 'audit', callback = audit, flags = { 'allow-oom' } }

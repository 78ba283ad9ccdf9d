-- Previews of rules: asked for by an API process, counted by the sweeper process that has the lease. A preview is a
-- hash that expires: state (msgpack Preview), owner, until.

-- preview_ask: keeps a preview for a sweeper process. KEYS: previews, preview. ARGV: id, asked at (Unix ms), state,
-- lifetime (ms), most that may wait. Answers 1, or 0 where too many wait.
local function preview_ask(keys, argv)
  local id, at, state, lifetime_ms, most = unpack(argv)
  redis.call('ZREMRANGEBYSCORE', keys[1], '-inf', tonumber(at) - tonumber(lifetime_ms))
  if redis.call('ZCARD', keys[1]) >= tonumber(most) then
    return 0
  end
  redis.call('HSET', keys[2], 'state', state)
  redis.call('PEXPIRE', keys[2], lifetime_ms)
  redis.call('ZADD', keys[1], at, id)
  redis.call('PUBLISH', 'fg:preview', id)
  return 1
end

redis.register_function { function_name = STEP .. 'preview_ask', callback = preview_ask, flags = { 'allow-oom' } }

-- preview_own: takes or keeps the count of a preview, and writes how far it is. KEYS: previews, preview. ARGV: id,
-- owner, lease (ms), state ('' = it stays), '1' = the count is done.
-- Answers the state, or false where another process owns the count or the preview is over.
local function preview_own(keys, argv)
  local id, owner, lease_ms, state, done = unpack(argv)
  local known, has, until_ = unpack(redis.call('HMGET', keys[2], 'state', 'owner', 'until'))
  if not known then
    redis.call('ZREM', keys[1], id)
    return false
  end
  local now = now_ms()
  -- Further ahead than a lease lasts: the server's clock was set back.
  if has and has ~= owner and tonumber(until_) > now and tonumber(until_) <= now + tonumber(lease_ms) then
    return false
  end
  if state ~= '' then
    known = state
  end
  redis.call('HSET', keys[2], 'state', known, 'owner', owner, 'until', now + tonumber(lease_ms))
  if done == '1' then
    redis.call('ZREM', keys[1], id)
  end
  return known
end

redis.register_function { function_name = STEP .. 'preview_own', callback = preview_own, flags = { 'allow-oom' } }

-- Idempotent calls: the key of a call that was accepted stands in `fg:{n}:idem:<name>` with its content, its first id
-- and, where it takes several parts, how far it has come (mta/redis_store/kept_calls.py).
local idempotency = { KEEP = 1, NO_ROOM = 2, EXPIRY_STEP = 300000 }

-- Of the call that stands under a key: messages, how many of them are done, the session that works on it, its note, and
-- where its differences begin.
idempotency.progress = function(stands)
  if #stands == 24 then
    return 1, 1, '', '', 25
  end
  return struct.unpack('>I4I4Bc0I2c0', stands, 25)
end

-- Whether the session may still accept something in the lane, as 1 or 0.
idempotency.lives = function(P, session)
  local mark = redis.call('HGET', P .. 'ingest', session)
  return (mark and string.sub(mark, 1, 1) ~= 'x') and 1 or 0
end

-- The call, with another session that works on it.
idempotency.worked_on_by = function(stands, session)
  local total, done, _, note, rest = idempotency.progress(stands)
  local progress = struct.pack('>I4I4Bc0I2c0', total, done, #session, session, #note, note)
  return string.sub(stands, 1, 24) .. progress .. string.sub(stands, rest)
end

-- The calls of a batch that may not run, as {KEYS, place from 0, what stands under the key or '', whether the session
-- that works on it lives, place, ...}; nil = all may. A part runs where the part before it ended, only there, and only
-- for the session that works on the call.
idempotency.known = function(P, session, calls)
  local answer
  for at, call in ipairs(calls) do
    local name, content, first, begin, _, _, _, mode = unpack(call) -- accept.Call
    local stands = redis.call('GET', P .. 'idem:' .. name)
    local may_run, lives = begin == 0 and mode ~= idempotency.NO_ROOM, 0
    if stands then
      local total, done, owner = idempotency.progress(stands)
      may_run = done == begin and done < total and owner == session and string.sub(stands, 1, 24) == content .. first
      lives = idempotency.lives(P, owner)
    end
    if not may_run then
      answer = answer or { 'KEYS' }
      local n = #answer
      answer[n + 1], answer[n + 2], answer[n + 3] = at - 1, stands or '', lives
    end
  end
  return answer
end

-- The parts of a batch were accepted. A key is kept for its whole time from the last part on; `idem_use` counts the
-- bytes of new keys by the time at which they go.
idempotency.keep = function(P, session, calls)
  for _, call in ipairs(calls) do
    local name, content, first, begin, messages, total, keep_ms, mode, note, differences = unpack(call) -- accept.Call
    if mode == idempotency.KEEP then
      local key, done, value = P .. 'idem:' .. name, begin + messages, content .. first
      if begin > 0 then
        local stands = redis.call('GET', key)
        local _, _, _, noted, rest = idempotency.progress(stands)
        note, differences = noted, string.sub(stands, rest) .. differences
      end
      if total > 1 or note ~= '' or differences ~= '' then
        local owner = done < total and session or ''
        value = value .. struct.pack('>I4I4Bc0I2c0', total, done, #owner, owner, #note, note) .. differences
      end
      redis.call('SET', key, value, 'PX', keep_ms)
      if begin == 0 then
        local goes = math.floor((now_ms() + keep_ms) / idempotency.EXPIRY_STEP) + 1
        redis.call('HINCRBY', P .. 'idem_use', goes, 80 + #value)
      end
    end
  end
end

-- take_call: the session goes on with a call that is not complete, if no living session works on it.
-- KEYS: lane, ingest, idem. ARGV: session
-- Answers as the accept step does of a call that may not run: whose it is now, it says itself.
local function take_call(keys, argv)
  local P, session, stands = prefix_of(keys[1], 'lane'), argv[1], redis.call('GET', keys[3])
  if not stands then
    return { 'KEYS', 0, '', 0 }
  end
  local total, done, owner = idempotency.progress(stands)
  local lives = idempotency.lives(P, owner)
  if done < total and owner ~= session and lives == 0 then
    stands = idempotency.worked_on_by(stands, session)
    redis.call('SET', keys[3], stands, 'KEEPTTL')
  end
  return { 'KEYS', 0, stands, lives }
end

redis.register_function { function_name = STEP .. 'take_call', callback = take_call }

-- leave_call: the session works no more on a call that is not complete, so that any session may go on with it.
-- KEYS: lane, idem. ARGV: session
local function leave_call(keys, argv)
  local stands = redis.call('GET', keys[2])
  if stands then
    local total, done, owner = idempotency.progress(stands)
    if done < total and owner == argv[1] then
      redis.call('SET', keys[2], idempotency.worked_on_by(stands, ''), 'KEEPTTL')
    end
  end
  return 'OK'
end

redis.register_function { function_name = STEP .. 'leave_call', callback = leave_call, flags = { 'allow-oom' } }

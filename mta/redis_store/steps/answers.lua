-- Orders with an idempotency key, one string each: the hash of the order, then '.' and who works on it, or '=' and its
-- answer. Their memory is counted in `idem_use`, as that of calls that hand mail in.

-- answer_claim: begins an order, or says how it stands. KEYS: lane, answer, idem_use. ARGV: hash of the order, owner,
-- how long the claim holds (ms), most bytes of keys in the lane. Answers 1: the owner may work on it; 0: there is no
-- room; else what stands under the key. The owner may claim it again: that renews the claim.
idempotency.answer_claim = function(keys, argv)
  local content, owner, hold, most = unpack(argv)
  local claim, stands = content .. '.' .. owner, redis.call('GET', keys[2])
  if stands and stands ~= claim then
    return stands
  end
  if not stands then
    local now, kept = now_ms(), 0
    local uses = redis.call('HGETALL', keys[3])
    for at = 1, #uses, 2 do
      if tonumber(uses[at]) * idempotency.EXPIRY_STEP >= now then
        kept = kept + tonumber(uses[at + 1])
      end
    end
    if kept >= tonumber(most) then
      return 0
    end
  end
  redis.call('SET', keys[2], claim, 'PX', hold)
  return 1
end

redis.register_function { function_name = STEP .. 'answer_claim', callback = idempotency.answer_claim }

-- answer_keep: gives an order its answer, if the claim of the owner holds. KEYS: lane, answer, idem_use. ARGV: hash of
-- the order, owner, answer, how long it is kept (ms). Answers 1, where the answer stands already too.
idempotency.answer_keep = function(keys, argv)
  local content, owner, answer, keep = unpack(argv)
  local stands, value = redis.call('GET', keys[2]), content .. '=' .. answer
  if stands == value then
    return 1
  end
  if stands ~= content .. '.' .. owner then
    return 0
  end
  redis.call('SET', keys[2], value, 'PX', keep)
  local goes = math.floor((now_ms() + keep) / idempotency.EXPIRY_STEP) + 1
  redis.call('HINCRBY', keys[3], goes, 80 + #value)
  return 1
end

redis.register_function { function_name = STEP .. 'answer_keep', callback = idempotency.answer_keep }

-- answer_leave: ends the claim of the owner without an answer. KEYS: lane, answer. ARGV: hash of the order, owner
idempotency.answer_leave = function(keys, argv)
  if redis.call('GET', keys[2]) == argv[1] .. '.' .. argv[2] then
    redis.call('DEL', keys[2])
  end
  return 1
end

redis.register_function {
  function_name = STEP .. 'answer_leave',
  callback = idempotency.answer_leave,
  flags = { 'allow-oom' },
}

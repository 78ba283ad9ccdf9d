-- hashes: the counters of many rules at one moment. KEYS: the lane, then hashes. Answers [[field, value, ...], ...].
local function hashes(keys, argv)
  local rows = {}
  for i = 2, #keys do
    rows[i - 1] = redis.call('HGETALL', keys[i])
  end
  return rows
end

-- rule_account: the account of one rule at one moment, so that no figure contradicts another.
-- KEYS: the lane, the counters of the rule, its copies for an undo, and the counters of its tag where it selects by one
-- tag alone. ARGV[1]: now (Unix ms).
-- Answers [fields of the rule, copies that can be undone, until when all of them can ('' = there is none), fields of
-- the tag].
local function rule_account(keys, argv)
  local later = '(' .. argv[1]
  local first = redis.call('ZRANGE', keys[3], later, '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
  return {
    redis.call('HGETALL', keys[2]),
    redis.call('ZCOUNT', keys[3], later, '+inf'),
    first[2] or '',
    keys[4] and redis.call('HGETALL', keys[4]) or {},
  }
end

redis.register_function { function_name = STEP .. 'rule_account', callback = rule_account, flags = { 'no-writes' } }
redis.register_function { function_name = STEP .. 'hashes', callback = hashes, flags = { 'no-writes' } }

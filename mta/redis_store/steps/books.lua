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

-- rule_accounts: the sum of the accounts of many rules. KEYS: the lane, then of each rule its counters and its copies
-- for an undo. ARGV[1]: now (Unix ms).
-- Answers [fields, copies that can be undone, until when all of them can ('' = there is none)].
local function rule_accounts(keys, argv)
  local later, sums, undoable, earliest = '(' .. argv[1], {}, 0, nil
  for i = 2, #keys, 2 do
    local row = redis.call('HGETALL', keys[i])
    for j = 1, #row, 2 do
      sums[row[j]] = (sums[row[j]] or 0) + tonumber(row[j + 1])
    end
    local first = #row > 0 and redis.call('ZRANGE', keys[i + 1], later, '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
    if first and first[2] then
      undoable = undoable + redis.call('ZCOUNT', keys[i + 1], later, '+inf')
      if not earliest or tonumber(first[2]) < tonumber(earliest) then
        earliest = first[2]
      end
    end
  end
  local fields = {}
  for name, sum in pairs(sums) do
    fields[#fields + 1] = name
    fields[#fields + 1] = string.format('%d', sum)
  end
  return { fields, undoable, earliest or '' }
end

redis.register_function { function_name = STEP .. 'rule_accounts', callback = rule_accounts, flags = { 'no-writes' } }
redis.register_function { function_name = STEP .. 'rule_account', callback = rule_account, flags = { 'no-writes' } }
redis.register_function { function_name = STEP .. 'hashes', callback = hashes, flags = { 'no-writes' } }

-- After a failover that lost changes of the rule table: reads how the table came to its head, and puts the lost rules
-- again.

-- rules_trail: the oldest change that is kept, then those from generation `since` on. KEYS: head, changes. ARGV: since
-- Answers [generation up to which lost changes were put again, generation, change id, was, ...]; `was` is the
-- generation that a rule put again had before, 0 = an order.
local function rules_trail(keys, argv)
  local trail = { tonumber(redis.call('HGET', keys[1], 'regained') or 0) }
  local function add(entries)
    for _, entry in ipairs(entries) do
      trail[#trail + 1] = tonumber(string.match(entry[1], '^%d+'))
      trail[#trail + 1] = entry[2][4]
      trail[#trail + 1] = tonumber(entry[2][14] or 0)
    end
  end
  add(redis.call('XRANGE', keys[2], '-', '+', 'COUNT', 1))
  local since = math.max(tonumber(argv[1]), (trail[2] or 0) + 1)
  add(redis.call('XRANGE', keys[2], since .. '-0', '+'))
  return trail
end

redis.register_function { function_name = STEP .. 'rules_trail', callback = rules_trail, flags = { 'no-writes' } }

-- rules_regain: puts again, by id, rules that a failover lost, and never uses a generation again that was lost. All of
-- it or, where a rule is not as the caller saw it, nothing. KEYS: head, table, ids, changes, events, past (of each
-- rule).
-- ARGV: generation lost, change id, 1 = these are the last, at (Unix ms), then per change: op (put, or regain: no
-- rule), id, rule as seen, identity as seen, identity, rule without its generation, was, the event in three parts, the
-- set of the rule ('' = none).
-- Answers 1; 0: something has changed meanwhile; 2: another process has regained that far already.
local function rules_regain(keys, argv)
  local P = prefix_of(keys[1], 'head')
  local lost, change, last, at = tonumber(argv[1]), argv[2], argv[3], argv[4]
  if tonumber(redis.call('HGET', keys[1], 'regained') or 0) >= lost then
    return 2
  end
  for i = 5, #argv, 11 do
    if argv[i] == 'put' and not is_as_seen(P, argv[i + 1], argv[i + 2], argv[i + 4]) then
      return 0
    end
  end
  local generation, id = math.max(head_of(P), lost), change
  for i = 5, #argv, 11 do
    generation, id = generation + 1, change .. i
    local rule = with_generation(argv[i + 5], generation)
    if argv[i] == 'put' then
      write_rule(P, argv[i + 1], rule, argv[i + 3], argv[i + 4])
      if argv[i + 2] == '' and argv[i + 10] ~= '' then
        redis.call('HINCRBY', P .. 'set:' .. argv[i + 10], 'rules', 1)
      end
    end
    note_change(P, generation, argv[i], id, argv[i + 1], rule, 'failover', at, 'was', argv[i + 6])
    append_framed(P, change_event(generation, unpack(argv, i + 7, i + 9)))
  end
  if last == '1' then
    redis.call('HSET', keys[1], 'regained', lost)
  end
  move_head(P, generation, id)
  return 1
end

redis.register_function { function_name = STEP .. 'rules_regain', callback = rules_regain, flags = { 'allow-oom' } }

-- Changes of many rules by one order: a set. It is made in parts, each of them one change of the table.

-- Parts that are kept for sessions that are behind: a session that is behind by more changes loads the table.
local KEPT_PARTS = 1000
local FIELDS = 10 -- arguments of one rule

-- The rules of a part, each behind its length and 'p' (put) or 'r' (removed).
local function framed_rule(op, rule)
  return struct.pack('>I4c0', #rule + 1, (op == 'put' and 'p' or 'r') .. rule)
end

-- Writes the rules of a part at `generation`. Answers the rules framed, their events, and the ids made and removed.
local function write_part(P, generation, at, retention_ms, argv, first)
  local rules, events, made, removed, rows, ids, left = {}, {}, {}, {}, {}, {}, {}
  for i = first, #argv, FIELDS do
    local op, id, seen, old_identity, identity, rule, order = unpack(argv, i, i + 6)
    rule = with_generation(rule, generation)
    rules[#rules + 1] = framed_rule(op, rule)
    events[#events + 1] = change_event(generation, unpack(argv, i + 7, i + 9))
    if op == 'put' then
      made[#made + 1] = id
      rows[#rows + 1] = id
      rows[#rows + 1] = rule
      if old_identity ~= identity then
        redis.call('HDEL', P .. 'ids', old_identity)
      end
      ids[#ids + 1] = identity
      ids[#ids + 1] = id
      if seen ~= '' then
        redis.call('DEL', P .. 'past:' .. id)
      end
    else
      removed[#removed + 1] = id
      remember_removed(P, id, seen, at, retention_ms, order)
      take_out(P, id, identity)
    end
    if seen ~= '' and order ~= id then
      left[order] = (left[order] or 0) + 1
    end
  end
  call_sliced('HSET', P .. 'table', rows)
  call_sliced('HSET', P .. 'ids', ids)
  for set, many in pairs(left) do
    leave_set(P, set, many, retention_ms)
  end
  return table.concat(rules), table.concat(events), made, removed
end

-- rules_set: one part of a set: puts and removes rules if all of them are still as the caller saw them, else nothing;
-- moves the head once, audits, publishes. KEYS: head, table, ids, changes, sessions, effects, sweeps, completed,
-- events, parts, set, then past, removed and sets of the rules as seen.
-- ARGV: change id, set id, about the set (msgpack), by, at (Unix ms), most rules, rules by which the table grows by the
-- whole set (0 where an earlier part has looked), how long a removed rule is remembered (ms), 1 = it is the last part,
-- then per rule: op, id, as seen ('' = not there), identity as seen, identity, rule without its generation, the id of
-- the order that made it as seen, the event in three parts.
-- Answers as rules_change.
local function rules_set(keys, argv)
  local P = prefix_of(keys[1], 'head')
  local change, set, about, by, at, most, growth, retention_ms, last = unpack(argv, 1, 9)
  if tonumber(growth) > 0 and redis.call('HLEN', P .. 'table') + growth > tonumber(most) then
    return -1
  end
  for i = 10, #argv, FIELDS do
    if not is_as_seen(P, argv[i + 1], argv[i + 2], argv[i + 4]) then
      return false
    end
  end
  local generation = head_of(P) + 1
  local rules, events, made, removed = write_part(P, generation, at, retention_ms, argv, 10)
  local key = P .. 'set:' .. set
  redis.call('HSET', key, 'about', about, 'last', generation, generation, cmsgpack.pack { made, removed })
  if redis.call('HINCRBY', key, 'rules', #made) <= 0 then
    redis.call('PEXPIRE', key, retention_ms)
  else
    redis.call('PERSIST', key)
  end
  redis.call('XADD', P .. 'parts', 'MAXLEN', KEPT_PARTS, generation .. '-0', 'rules', rules)
  note_change(P, generation, 'set', change, set, '', by, at)
  append_framed(P, events)
  move_head(P, generation, change, last ~= '1')
  return { generation, delivering_sessions(P) }
end

redis.register_function { function_name = STEP .. 'rules_set', callback = rules_set, flags = { 'allow-oom' } }

-- rules_set_once: as rules_set, for a part that may have been made already. Then it is not made again.
local function rules_set_once(keys, argv)
  return made_already(prefix_of(keys[1], 'head'), argv[1]) or rules_set(keys, argv)
end

redis.register_function { function_name = STEP .. 'rules_set_once', callback = rules_set_once, flags = { 'allow-oom' } }

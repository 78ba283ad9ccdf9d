-- The rule table and the sessions that confirm it. One session's value: msgpack [generation, change, seq, dead,
-- confirmed_at, about, metrics].

local function head_of(P)
  local head = redis.call('HMGET', P .. 'head', 'generation', 'change')
  return tonumber(head[1] or 0), head[2] or ''
end

-- The wait set of a change: the living sessions with the role delivery. The barrier of each lane fences the others.
local function delivering_sessions(P)
  local rows = redis.call('HGETALL', P .. 'sessions')
  local delivering = {}
  for i = 1, #rows, 2 do
    local _, _, _, dead, _, about = unpack(cmsgpack.unpack(rows[i + 1]))
    for _, role in ipairs(dead and {} or cjson.decode(about)[3]) do
      if role == 'delivery' then
        delivering[#delivering + 1] = rows[i]
      end
    end
  end
  return delivering
end

-- The rule (msgpack, a map without its generation) at this generation.
local function with_generation(rule, generation)
  local size, body = string.byte(rule) - 0x80, string.sub(rule, 2)
  if size > 15 then
    size, body = string.byte(rule, 2) * 256 + string.byte(rule, 3), string.sub(rule, 4)
  end
  size = size + 1
  local header = size < 16 and string.char(0x80 + size) or string.char(0xde, math.floor(size / 256), size % 256)
  return header .. body .. '\170generation' .. cmsgpack.pack(generation)
end

-- Whether rule `id` is as its writer saw it ('' = not there), and no other rule has the identity that it is to have.
local function is_as_seen(P, id, seen, identity)
  local other = redis.call('HGET', P .. 'ids', identity)
  if other and other ~= id and redis.call('HEXISTS', P .. 'table', other) == 1 then
    return false
  end
  return (redis.call('HGET', P .. 'table', id) or '') == seen
end

local function write_rule(P, id, rule, old_identity, identity)
  redis.call('HSET', P .. 'table', id, rule)
  if old_identity ~= identity then
    redis.call('HDEL', P .. 'ids', old_identity)
  end
  redis.call('HSET', P .. 'ids', identity, id)
  redis.call('DEL', P .. 'past:' .. id)
end

-- An event of a change in three parts: the caller does not know the generation, which stands between them as a number
-- and as text.
local function change_event(generation, head, middle, tail)
  return framed_event(head .. cmsgpack.pack(generation) .. middle .. cmsgpack.pack(tostring(generation)) .. tail)
end

-- Notes a change of the table in the audit, from which processes that are behind read it; `...` are further fields.
local function note_change(P, generation, op, change, id, rule, by, at, ...)
  redis.call(
    'XADD',
    P .. 'changes',
    'MAXLEN',
    '~',
    20000,
    generation .. '-0',
    'op',
    op,
    'change',
    change,
    'id',
    id,
    'rule',
    rule,
    'by',
    by,
    'at',
    at,
    ...
  )
end

-- `quiet`: another change follows at once, and sessions hear of both with that.
local function move_head(P, generation, change, quiet)
  redis.call('HSET', P .. 'head', 'generation', generation, 'change', change)
  if not quiet then
    redis.call('PUBLISH', 'fg:head', generation)
  end
end

-- Copies the effect and the sweep that are kept under `order` to the hash `into`.
local function copy_outcome(P, order, into)
  for _, name in ipairs { 'effects', 'sweeps' } do
    local known = redis.call('HGET', P .. name, order)
    if known then
      redis.call('HSET', into, name, known)
    end
  end
end

local function forget_outcome(P, order)
  for _, name in ipairs { 'effects', 'sweeps', 'completed' } do
    redis.call('HDEL', P .. name, order)
  end
end

-- Keeps the removed rule, its effect and its sweep, from which its statement is made beside the counters. `order`: the
-- id under which these two are kept.
local function remember_removed(P, id, rule, at, retention_ms, order)
  local removed = P .. 'removed:' .. id
  redis.call('HSET', removed, 'rule', rule, 'at', at)
  copy_outcome(P, order, removed)
  redis.call('PEXPIRE', removed, retention_ms)
  if order == id then
    redis.call('PEXPIRE', P .. 'past:' .. id, retention_ms)
  end
end

-- The set made `many` rules fewer than before: they were removed, or ordered otherwise. A set that has none left is
-- remembered for as long as a removed rule.
local function leave_set(P, set, many, retention_ms)
  local key = P .. 'set:' .. set
  if redis.call('HINCRBY', key, 'rules', -many) <= 0 then
    copy_outcome(P, set, key)
    forget_outcome(P, set)
    redis.call('PEXPIRE', key, retention_ms)
  end
end

local function take_out(P, id, identity)
  redis.call('HDEL', P .. 'table', id)
  redis.call('HDEL', P .. 'ids', identity)
  forget_outcome(P, id)
end

-- rules_change: puts or removes a rule if it is still as the caller saw it; moves the head, audits, publishes.
-- Never leaves a moved head without the change that moved it. Answers [generation, [session, ...]]: the new head's, and
-- the wait set: the sessions that deliver, registered at that moment; false: the rule has changed meanwhile; -1: there
-- are too many.
-- The statement of a removed rule can be read for a while longer. KEYS: head, table, ids, changes, sessions, past (of
-- the rule), effects, sweeps, removed (the rule), completed, events.
-- ARGV: op, change id, rule id, rule as seen ('' = not there), identity as seen, identity, rule without its generation,
-- by, at (Unix ms), most rules, how long a removed rule is remembered (ms), the event in three parts.
local function rules_change(keys, argv)
  local P = prefix_of(keys[1], 'head')
  local op, change, id, seen, old_identity, identity, rule, by, at, most, retention_ms = unpack(argv)
  if not is_as_seen(P, id, seen, identity) then
    return false
  end
  if seen == '' and redis.call('HLEN', P .. 'table') >= tonumber(most) then
    return -1
  end
  local generation, order = head_of(P) + 1, argv[15]
  rule = with_generation(rule, generation)
  if op == 'put' then
    write_rule(P, id, rule, old_identity, identity)
  else
    remember_removed(P, id, seen, at, retention_ms, order)
    take_out(P, id, identity)
  end
  if seen ~= '' and order ~= id then
    leave_set(P, order, 1, retention_ms)
  end
  note_change(P, generation, op, change, id, rule, by, at)
  append_framed(P, change_event(generation, unpack(argv, 12, 14)))
  move_head(P, generation, change)
  return { generation, delivering_sessions(P) }
end

redis.register_function { function_name = STEP .. 'rules_change', callback = rules_change, flags = { 'allow-oom' } }

-- rules_canary: moves the head by a change without a rule, which no event tells. KEYS: head, changes, sessions. ARGV:
-- op, change id, rule without a selector, at (Unix ms). Answers as rules_change.
local function rules_canary(keys, argv)
  local P = prefix_of(keys[1], 'head')
  local op, change, rule, at = unpack(argv)
  local generation = head_of(P) + 1
  note_change(P, generation, op, change, '', with_generation(rule, generation), '', at)
  move_head(P, generation, change)
  return { generation, delivering_sessions(P) }
end

redis.register_function { function_name = STEP .. 'rules_canary', callback = rules_canary, flags = { 'allow-oom' } }

-- Entries of the audit that are read at a time, the newest first.
local SOME_CHANGES = 200

-- The generation of the change with this id; nil: there is none.
local function generation_of(changes, change)
  local below = '+'
  while true do
    local entries = redis.call('XREVRANGE', changes, below, '-', 'COUNT', SOME_CHANGES)
    for _, entry in ipairs(entries) do
      if entry[2][4] == change then
        return tonumber(string.match(entry[1], '^%d+'))
      end
    end
    if #entries < SOME_CHANGES then
      return nil
    end
    below = '(' .. entries[#entries][1]
  end
end

-- The answer to a change that may have been made already: its generation, and the wait set as it is now; nil: it was
-- not made.
local function made_already(P, change)
  local generation = generation_of(P .. 'changes', change)
  if not generation then
    return nil
  end
  local newest, newest_change = head_of(P)
  -- A write, so that WAIT waits for those before it.
  redis.call('HSET', P .. 'head', 'generation', newest, 'change', newest_change)
  return { generation, delivering_sessions(P) }
end

-- rules_change_once: as rules_change, for a change that may have been made already. Then it is not made again.
local function rules_change_once(keys, argv)
  return made_already(prefix_of(keys[1], 'head'), argv[2]) or rules_change(keys, argv)
end

redis.register_function {
  function_name = STEP .. 'rules_change_once',
  callback = rules_change_once,
  flags = { 'allow-oom' },
}

-- rules_load: head and size of the table at one moment, and the table where it is no larger than a step may read. KEYS:
-- head, table. ARGV: most rules. Answers [generation, change, rules, [rule id, rule, ...]].
local function rules_load(keys, argv)
  local generation, change = head_of(prefix_of(keys[1], 'head'))
  local size = redis.call('HLEN', keys[2])
  return { generation, change, size, size <= tonumber(argv[1]) and redis.call('HGETALL', keys[2]) or {} }
end

redis.register_function { function_name = STEP .. 'rules_load', callback = rules_load, flags = { 'no-writes' } }

-- Cancellations that one confirmation may hear of; more are handed out first, without registering.
local MOST_CANCELS = 5000

-- Orders to cancel beyond the entry `seen` ('' = from now on): the last entry, [message or delivery, author, ...],
-- whether there may be more.
local function canceled_since(cancels, seen)
  local entries, told = {}, {}
  if seen ~= '' then
    entries = redis.call('XRANGE', cancels, '(' .. seen, '+', 'COUNT', MOST_CANCELS)
  end
  if #entries == 0 then
    local newest = redis.call('XREVRANGE', cancels, '+', '-', 'COUNT', 1)[1]
    newest = newest and newest[1] or '0-0'
    if seen == '' or seen == newest then
      return newest, told, false
    end
    -- The store went back (a failover): it tells all that it has, for repeating does no harm.
    return canceled_since(cancels, '0-0')
  end
  for i, entry in ipairs(entries) do
    seen, told[2 * i - 1], told[2 * i] = entry[1], entry[2][2], entry[2][4] or ''
  end
  return seen, told, #entries == MOST_CANCELS
end

-- The build of a session; written when it has changed.
local function note_build(P, session, build)
  if redis.call('HGET', P .. 'builds', session) ~= build then
    redis.call('HSET', P .. 'builds', session, build)
  end
end

-- Bytes of rules, about, that one answer tells a session that is behind: it applies them and asks on, so that neither
-- the store nor the session is held up by thousands of changes.
local MOST_TOLD = 262144

-- Changes from a head on, the fields of each; fewer than all where these are many. nil: the table costs less, or they
-- do not lead there.
local function changes_since(P, mine, my_change, generation)
  if mine >= generation then
    return nil
  end
  local from = mine > 0 and mine .. '-0' or '-'
  local entries = redis.call('XRANGE', P .. 'changes', from, '+', 'COUNT', 1002)
  local first, skip = entries[1], mine > 0 and 1 or 0
  if not first or #entries > 1001 or #entries ~= generation - mine + skip then
    return nil
  end
  if mine > 0 and (first[1] ~= from or first[2][4] ~= my_change) then
    return nil
  end
  local told, bytes = {}, 0
  for i = 1 + skip, #entries do
    local id, fields = unpack(entries[i])
    if fields[2] == 'set' then
      local part = redis.call('XRANGE', P .. 'parts', id, id)[1]
      if not part then
        return nil
      end
      fields[8] = part[2][2]
    end
    bytes = bytes + #fields[8]
    if bytes > MOST_TOLD and #told > 0 then
      break
    end
    told[#told + 1] = fields
  end
  return told
end

-- rules_confirm: compares and registers in one step. KEYS: head, sessions, changes, cancels, builds, parts, then past
-- (of each order listed).
-- ARGV: session, seq, generation, change, about, metrics, last entry of `cancels` heard of ('' = none), build, then
-- order, delivery, entry, ... of what is past its dot.
-- Answers [OK, last entry, [canceled, author, ...]] | [LOST] | [BEHIND, generation, change, [change entry, ...]] |
-- [RELOAD, generation, change] |
-- [MORE, last entry, [canceled, author, ...]]: ask on from there; only OK has written.
local function rules_confirm(keys, argv)
  local P = prefix_of(keys[1], 'head')
  local session, seq = argv[1], tonumber(argv[2])
  local mine, my_change = tonumber(argv[3]), argv[4]
  local known = redis.call('HGET', P .. 'sessions', session)
  if known and cmsgpack.unpack(known)[4] or not known and seq > 1 then
    return { 'LOST' }
  end
  local generation, change = head_of(P)
  if mine ~= generation or my_change ~= change then
    local changes = changes_since(P, mine, my_change, generation)
    local told = { changes and 'BEHIND' or 'RELOAD', tostring(generation), change, changes }
    return told
  end
  local last, canceled, more = canceled_since(P .. 'cancels', argv[7])
  if more then
    return { 'MORE', last, canceled }
  end
  if known then
    -- A question that is asked again, because its answer was lost, moves the number too: observers see that it lives.
    seq = math.max(seq, cmsgpack.unpack(known)[3] + 1)
  end
  redis.call(
    'HSET',
    P .. 'sessions',
    session,
    cmsgpack.pack { generation, change, seq, false, now_ms(), argv[5], argv[6] }
  )
  note_build(P, session, argv[8])
  for i = 9, #argv, 3 do
    local past = P .. 'past:' .. argv[i]
    redis.call('HSETNX', past, argv[i + 1], argv[i + 2])
    redis.call('EXPIRE', past, 604800)
  end
  return { 'OK', last, canceled }
end

redis.register_function { function_name = STEP .. 'rules_confirm', callback = rules_confirm, flags = { 'allow-oom' } }

-- rules_cannot_read: a session lives, and confirms nothing because it cannot read a rule in force (its build says
-- which): its last confirmation stays as it was. KEYS: head, sessions, builds. ARGV: session, seq, about, metrics,
-- build. Answers OK | LOST.
local function rules_cannot_read(keys, argv)
  local P = prefix_of(keys[1], 'head')
  local session, seq = argv[1], tonumber(argv[2])
  local known = redis.call('HGET', P .. 'sessions', session)
  local generation, change, dead, confirmed_at = 0, '', false, 0
  if known then
    local state = cmsgpack.unpack(known)
    generation, change, dead, confirmed_at = state[1], state[2], state[4], state[5]
    seq = math.max(seq, state[3] + 1)
  end
  if dead or not known and seq > 1 then
    return 'LOST'
  end
  redis.call(
    'HSET',
    P .. 'sessions',
    session,
    cmsgpack.pack { generation, change, seq, false, confirmed_at, argv[3], argv[4] }
  )
  note_build(P, session, argv[5])
  return 'OK'
end

redis.register_function {
  function_name = STEP .. 'rules_cannot_read',
  callback = rules_cannot_read,
  flags = { 'allow-oom' },
}

-- rules_cancel: tells every session with its next confirmation that a message, or one delivery, is canceled. KEYS:
-- head, cancels. ARGV: id, author of the order.
local function rules_cancel(keys, argv)
  redis.call('XADD', keys[2], 'MAXLEN', '~', 100000, '*', 'm', argv[1], 'by', argv[2])
  redis.call('PUBLISH', 'fg:head', 'cancel')
  return 'OK'
end

redis.register_function { function_name = STEP .. 'rules_cancel', callback = rules_cancel, flags = { 'allow-oom' } }

-- session_dead: gives a session up, if it stood still at `seq` ('' = its process was reaped). KEYS: head, sessions.
-- ARGV: session, seq
local function session_dead(keys, argv)
  local known = redis.call('HGET', keys[2], argv[1])
  if not known then
    return 0
  end
  local state = cmsgpack.unpack(known)
  if argv[2] ~= '' and state[3] ~= tonumber(argv[2]) then
    return 0
  end
  state[4] = true
  redis.call('HSET', keys[2], argv[1], cmsgpack.pack(state))
  redis.call('PUBLISH', 'fg:dead', argv[1])
  return 1
end

redis.register_function { function_name = STEP .. 'session_dead', callback = session_dead, flags = { 'allow-oom' } }

-- past_settled: deliveries past their dot for a rule were settled. KEYS: head, past. ARGV: at (Unix ms), delivery, ...
-- The settling time stands beside the entry as field `=<delivery>`.
local function past_settled(keys, argv)
  for i = 2, #argv do
    -- It may be settled before the confirmation that lists it has come.
    redis.call('HSETNX', keys[2], '=' .. argv[i], argv[1])
  end
  redis.call('EXPIRE', keys[2], 604800)
  return 'OK'
end

redis.register_function { function_name = STEP .. 'past_settled', callback = past_settled, flags = { 'allow-oom' } }

-- take_sweep: one owner for the sweep of an order; none for one whose rules were removed. KEYS: head, sweeps, table,
-- completed, events. ARGV: order id, owner, lease ms, state (msgpack), event of a sweep that is done ('' = it is not),
-- generation of the order, id of one of its rules. The event is appended once for each generation.
-- The value is "<owner>|<until>|<state>"; answers 1 when the sweep is the owner's, and then the state is saved.
local function take_sweep(keys, argv)
  if redis.call('HEXISTS', keys[3], argv[7]) == 0 then
    redis.call('HDEL', keys[2], argv[1])
    return 0
  end
  local known, now = redis.call('HGET', keys[2], argv[1]), now_ms()
  if known then
    local has, until_ = string.match(known, '^([^|]*)|(%d+)|')
    -- Further ahead than a lease lasts: the server's clock was set back.
    if has ~= argv[2] and tonumber(until_) > now and tonumber(until_) <= now + tonumber(argv[3]) then
      return 0
    end
  end
  redis.call('HSET', keys[2], argv[1], argv[2] .. '|' .. (now + tonumber(argv[3])) .. '|' .. argv[4])
  if argv[5] ~= '' and redis.call('HGET', keys[4], argv[1]) ~= argv[6] then
    redis.call('HSET', keys[4], argv[1], argv[6])
    append_framed(prefix_of(keys[1], 'head'), framed_event(argv[5]))
  end
  return 1
end

redis.register_function { function_name = STEP .. 'take_sweep', callback = take_sweep, flags = { 'allow-oom' } }

-- save_effect: the latest generation of an order that is known to be effective; that of a removal stands with what is
-- remembered of the rule, that of a set without rules with what is remembered of the set. KEYS: head, effects, removed
-- (the rule) or set, events. ARGV: order id, generation, effect, its event, '1' = the rule was removed
local function save_effect(keys, argv)
  local id, generation, effect, event, removed = unpack(argv)
  local key, field = keys[2], id
  if tonumber(redis.call('HGET', keys[3], 'rules') or 1) <= 0 then
    key = keys[3]
    field = 'effects'
  elseif removed == '1' then
    key, field = keys[3], 'lifted'
    if redis.call('EXISTS', key) == 0 then
      return 0
    end
  end
  local known = redis.call('HGET', key, field)
  if known and tonumber(string.match(known, '^(%d+)|')) >= tonumber(generation) then
    return 0
  end
  redis.call('HSET', key, field, generation .. '|' .. effect)
  append_framed(prefix_of(keys[1], 'head'), framed_event(event))
  return 1
end

redis.register_function { function_name = STEP .. 'save_effect', callback = save_effect, flags = { 'allow-oom' } }

-- reinstate: deliveries that a rule intercepted, and of which a copy is kept, return to their queues, each once. They
-- are counted as undone.
-- Never leaves a delivery both spared and queued, nor one that is queued with a final status.
-- KEYS: lane, spared, spares, rec, count, events, pools, then due, agenda, tag and rule keys.
-- ARGV[1]: msgpack of undo.Batch (steps/undo.py).
-- ARGV[2]: now (Unix ms).
-- Answers how many.
local function reinstate(keys, argv)
  local P = prefix_of(keys[1], 'lane')
  local rule, hours, queues, items = unpack(cmsgpack.unpack(argv[1])) -- undo.Batch
  local of_rule, now = P .. 'rule:' .. rule, tonumber(argv[2])
  local members, ids = {}, {}
  for i, item in ipairs(items) do
    local id, queue, stage, uncertain = unpack(item) -- undo.Item
    ids[i] = id
    members[i] = spared_member(id, stage, uncertain, queues[queue][1], queues[queue][2])
  end
  local here = redis.call('ZMSCORE', keys[2], unpack(members))
  local sums, events, records, adds, back, left = {}, {}, {}, {}, {}, {}
  for i, item in ipairs(items) do
    if here[i] and tonumber(here[i]) > now then
      local id, queue, stage, uncertain, tags, record, event, due = unpack(item) -- undo.Item
      local place, domain = unpack(queues[queue])
      back[#back + 1] = id
      left[#left + 1] = members[i]
      events[#events + 1] = event
      records[#records + 1] = id
      records[#records + 1] = record
      push(adds, 'due:' .. place .. ':' .. domain, due, id)
      note_due(P, place, domain, due)
      redis.call('SADD', P .. 'pools', (pool_and_share(place)))
      count_tags(sums, P, tags, 'intercepted:' .. stage, -1)
      count_tags(sums, P, tags, 'queued', 1, 'undone', 1)
      count(sums, of_rule, 'intercepted:' .. stage, -1, 'undone', 1)
      if uncertain then
        count_tags(sums, P, tags, 'uncertain', -1)
        count(sums, of_rule, 'uncertain', -1)
      end
    end
  end
  if #back == 0 then
    return 0
  end
  unspare(P, rule, left)
  for hour = 0, hours do
    redis.call('HDEL', P .. 'ended:' .. (math.floor(now / 3600000) - hour), unpack(back))
  end
  redis.call('HSET', P .. 'rec', unpack(records))
  for name, entries in pairs(adds) do
    redis.call('ZADD', P .. name, unpack(entries))
  end
  add_up(sums)
  append_events(P, events)
  redis.call('PUBLISH', 'fg:wake', P)
  return #back
end

redis.register_function { function_name = STEP .. 'reinstate', callback = reinstate, flags = { 'allow-oom' } }

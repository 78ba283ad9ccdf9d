-- Parked mail: released into its queue, or given up.

-- unpark: parked deliveries are due now, with records that begin anew. Never touches a delivery that has another record
-- since it was read. KEYS: lane, parked, rec, count, events, then due, agenda, shares and tag keys.
-- ARGV[1]: msgpack of parked.Release (steps/parked.py). ARGV[2]: their events, framed.
-- Answers '1' for each that went, '0' for each that stays.
local function unpark(keys, argv)
  local P = prefix_of(keys[1], 'lane')
  local now, items = unpack(cmsgpack.unpack(argv[1])) -- parked.Release
  local sums, records, stays, answer = {}, {}, {}, {}
  for i, item in ipairs(items) do
    local id, place, domain, raw, record, tags, uncertain = unpack(item) -- parked.ReleaseItem
    local member = id .. place .. '|' .. domain
    if redis.call('HGET', P .. 'rec', id) == raw and redis.call('ZREM', P .. 'parked', member) == 1 then
      answer[i] = '1'
      redis.call('ZADD', P .. 'due:' .. place .. ':' .. domain, now, id)
      note_due(P, place, domain, now)
      records[#records + 1] = id
      records[#records + 1] = record
      count_tags(sums, P, tags, 'parked', -1, 'queued', 1)
      -- It was counted so when it was parked; its way out of the queue counts it again.
      if uncertain then
        count_tags(sums, P, tags, 'uncertain', -1)
      end
    else
      answer[i] = '0'
      stays[#stays + 1] = struct.pack('>I2', i - 1)
    end
  end
  if #records > 0 then
    redis.call('HSET', P .. 'rec', unpack(records))
    add_up(sums)
    append_framed(P, argv[2], stays)
    redis.call('PUBLISH', 'fg:wake', P)
  end
  return table.concat(answer)
end

redis.register_function { function_name = STEP .. 'unpark', callback = unpark, flags = { 'allow-oom' } }

-- drop_parked: parked deliveries whose record nobody can read end as canceled. Their tags are lost with their
-- records: only the totals can follow. KEYS: lane, parked, rec, content, refs, count, events, cancels.
-- ARGV[1]: msgpack of parked.Drop (steps/parked.py). ARGV[2]: their events, framed.
-- Answers '1' for each that went, '0' for each that stays.
local function drop_parked(keys, argv)
  local P = prefix_of(keys[1], 'lane')
  local retention_ms, items = unpack(cmsgpack.unpack(argv[1])) -- parked.Drop
  local gone, ended, stays, answer = {}, {}, {}, {}
  for i, item in ipairs(items) do
    local id, place, domain, raw, final = unpack(item) -- parked.DropItem
    local known = redis.call('HGET', P .. 'rec', id) or ''
    if known == raw and redis.call('ZREM', P .. 'parked', id .. place .. '|' .. domain) == 1 then
      answer[i] = '1'
      gone[#gone + 1] = id
      ended[#ended + 1] = id
      ended[#ended + 1] = final
    else
      answer[i] = '0'
      stays[#stays + 1] = struct.pack('>I2', i - 1)
    end
  end
  if #gone > 0 then
    redis.call('HDEL', P .. 'rec', unpack(gone))
    release_content(P, gone)
    note_ended(P, now_ms(), retention_ms, ended)
    redis.call('HINCRBY', P .. 'count', 'parked', -#gone)
    redis.call('HINCRBY', P .. 'count', 'canceled', #gone)
    append_framed(P, argv[2], stays)
  end
  return table.concat(answer)
end

redis.register_function { function_name = STEP .. 'drop_parked', callback = drop_parked, flags = { 'allow-oom' } }

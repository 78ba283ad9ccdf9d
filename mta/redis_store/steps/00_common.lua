-- Functions of all steps. A step validates before it writes, because a failing script is not rolled back.
-- KEYS[1] is always the anchor of the lane (`fg:{n}:lane`) or of the rules (`fg:{rules}:head`); KEYS names every key
-- that the step may write.

-- "fg:{n}:lane" -> "fg:{n}:": the keys of a lane are all in its slot.
local function prefix_of(anchor, tail)
  return string.sub(anchor, 1, #anchor - #tail)
end

-- Unix milliseconds by the server's clock, which may jump: for no safety decision, and not for due times. The caller
-- decides which mail is due by its own clock, which does not jump (mta/timing/clock.py).
local function now_ms()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- Calls `command key ... items` in slices, from the first or a later item on: Lua's unpack has room for less than
-- 8,000.
local function call_sliced(command, key, items, first)
  for from = first or 1, #items, 2000 do
    redis.call(command, key, unpack(items, from, math.min(from + 1999, #items)))
  end
end

-- Counters wait in `sums[key][field]` until `add_up` writes them, one command for each.
local function count(sums, key, field, by, also, also_by)
  local fields = sums[key]
  if not fields then
    fields = {}
    sums[key] = fields
  end
  fields[field] = (fields[field] or 0) + by
  if also then
    fields[also] = (fields[also] or 0) + also_by
  end
end

-- In total and by tag; `also`: a second field.
local function count_tags(sums, P, tags, field, by, also, also_by)
  count(sums, P .. 'count', field, by, also, also_by)
  for _, tag in ipairs(tags) do
    count(sums, P .. 'tag:' .. tag, field, by, also, also_by)
  end
end

-- A counter of a tag. Where it begins, the hash may begin, too: then it gets an epoch, which no earlier hash of this
-- tag had here (the microsecond: a script has no random numbers).
local function count_tag(key, field, by)
  if redis.call('HINCRBY', key, field, by) == by then
    local t = redis.call('TIME')
    redis.call('HSETNX', key, 'epoch', t[1] .. string.format('%06d', t[2]))
  end
end

local function add_up(sums)
  for key, fields in pairs(sums) do
    local of_tag = string.find(key, '^fg:{%d+}:tag:')
    for field, by in pairs(fields) do
      if by ~= 0 and of_tag then
        count_tag(key, field, by)
      elseif by ~= 0 then
        redis.call('HINCRBY', key, field, by)
      end
    end
  end
end

-- One stream entry, with one field, for the events of one step, each with its length before it: as a field each they
-- would cost the server several times as much. The caller of a step frames its events once, so that here they are one
-- string; `left_out`: places (from 0, two bytes each) of those that do not count.
local function append_framed(P, framed, left_out)
  if left_out and #left_out > 0 then
    redis.call('XADD', P .. 'events', '*', 'e', framed, 's', table.concat(left_out))
  elseif framed ~= '' then
    redis.call('XADD', P .. 'events', '*', 'e', framed)
  end
end

local function framed_event(event)
  return struct.pack('>I4c0', #event, event)
end

local function append_events(P, events)
  local framed = {}
  for i, event in ipairs(events) do
    framed[i] = framed_event(event)
  end
  append_framed(P, table.concat(framed))
end

-- A place is what keys and members name where they say where a delivery is queued: "<pool>", or "<pool>~<share>".
local function pool_and_share(place)
  local at = string.find(place, '~', 1, true)
  if at then
    return string.sub(place, 1, at - 1), string.sub(place, at + 1)
  end
  return place, nil
end

-- After the queue got a delivery that is due at `at`: its agenda shows it, and its pool shows the share.
local function note_due(P, place, domain, at)
  redis.call('ZADD', P .. 'agenda:' .. place, 'LT', at, domain)
  local pool, share = pool_and_share(place)
  if share then
    redis.call('SADD', P .. 'shares:' .. pool, share)
  end
end

-- After the queue lost its head: the agenda never names a time later than the earliest delivery, nor an empty queue.
local function mend_agenda(P, place, domain)
  local agenda = P .. 'agenda:' .. place
  local first = redis.call('ZRANGE', P .. 'due:' .. place .. ':' .. domain, 0, 0, 'WITHSCORES')
  if first[1] then
    redis.call('ZADD', agenda, first[2], domain)
    return
  end
  redis.call('ZREM', agenda, domain)
  local pool, share = pool_and_share(place)
  if share and redis.call('EXISTS', agenda) == 0 then
    redis.call('SREM', P .. 'shares:' .. pool, share)
  end
end

-- Deliveries that ended need their message's content no more; the last one frees it.
-- `refs` is absent for one recipient with its content in one piece: the common case costs one HDEL.
local function release_content(P, ids)
  local messages, seen = {}, {}
  if redis.call('EXISTS', P .. 'refs') == 0 then -- each id is of another message
    for i, id in ipairs(ids) do
      messages[i] = string.sub(id, 1, 16)
    end
    redis.call('HDEL', P .. 'content', unpack(messages))
    return
  end
  for _, id in ipairs(ids) do
    local message = string.sub(id, 1, 16)
    if not seen[message] then
      seen[message] = 0
      messages[#messages + 1] = message
    end
    seen[message] = seen[message] + 1
  end
  local refs = redis.call('HMGET', P .. 'refs', unpack(messages))
  local freed, unref, parts, kept = {}, {}, {}, {}
  for i, message in ipairs(messages) do
    local left = 0
    if refs[i] then
      left = tonumber(refs[i]) - seen[message]
      if left > 0 then
        kept[#kept + 1] = message
        kept[#kept + 1] = left
      else
        unref[#unref + 1] = message
        parts[#parts + 1] = P .. 'parts:' .. message
      end
    end
    if left <= 0 then
      freed[#freed + 1] = message
    end
  end
  if #kept > 0 then
    redis.call('HSET', P .. 'refs', unpack(kept))
  end
  if #freed > 0 then
    redis.call('HDEL', P .. 'content', unpack(freed))
  end
  if #unref > 0 then
    redis.call('HDEL', P .. 'refs', unpack(unref))
  end
  if #parts > 0 then
    redis.call('UNLINK', unpack(parts))
  end
end

-- An intercepted delivery may be kept for an undo: its record and content stay until `until_ms`. The member says how
-- it was counted.
local function spared_member(id, stage, uncertain, place, domain)
  return id .. string.sub(stage, 1, 1) .. (uncertain and 1 or 0) .. place .. '|' .. domain
end

local function add_spares(P, spares)
  for rule, entries in pairs(spares) do
    call_sliced('ZADD', P .. 'spared:' .. rule, entries)
    redis.call('SADD', P .. 'spares', rule)
  end
end

-- Entries of zsets wait in `lists[name]` as score, member, ... until they are added in one command.
local function push(lists, name, score, member)
  local entries = lists[name]
  if not entries then
    entries = {}
    lists[name] = entries
  end
  entries[#entries + 1] = score
  entries[#entries + 1] = member
end

-- Takes members out of a rule's spared ones; answers how many were there.
local function unspare(P, rule, members)
  local count = redis.call('ZREM', P .. 'spared:' .. rule, unpack(members))
  if redis.call('EXISTS', P .. 'spared:' .. rule) == 0 then
    redis.call('SREM', P .. 'spares', rule)
  end
  return count
end

-- The author of the cancellation that a delivery is marked with in `cancels`.
local function author_of(mark)
  return string.match(mark, '^%d+|(.*)$') or ''
end

-- The final status of deliveries, kept for as long as `status.retention` says; `pairs` = id, status, id, status, ...
-- Nobody has to cancel them any more. `shared`: [digest, what their statuses name by it, ...].
local function note_ended(P, now, retention_ms, pairs_, shared)
  local hour = math.floor(now / 3600000)
  local key = P .. 'ended:' .. hour
  call_sliced('HSET', key, pairs_)
  if shared and #shared > 0 then
    redis.call('HSET', key, unpack(shared))
  end
  redis.call('PEXPIREAT', key, (hour + 1) * 3600000 + retention_ms)
  if redis.call('EXISTS', P .. 'cancels') == 1 then
    for i = 1, #pairs_, 2 do
      redis.call('HDEL', P .. 'cancels', pairs_[i])
    end
  end
end

-- Claims go back to their queues, due at `now` (Unix ms, by the caller's clock); `lost`: each record counts (in its
-- first byte) that its claim was lost.
local function give_back(P, claimed, rows, lost, now)
  local ids = {}
  for i = 1, #rows, 2 do
    local id = rows[i]
    local _, place, domain = string.match(rows[i + 1], '^([^|]*)|([^|]*)|(.*)$')
    if lost then
      local record = redis.call('HGET', P .. 'rec', id)
      if record then
        local times = math.min(string.byte(record, 1) + 1, 255)
        redis.call('HSET', P .. 'rec', id, string.char(times) .. string.sub(record, 2))
      end
    end
    redis.call('ZADD', P .. 'due:' .. place .. ':' .. domain, now, id)
    note_due(P, place, domain, now)
    ids[#ids + 1] = id
  end
  if #ids > 0 then
    redis.call('HDEL', claimed, unpack(ids))
    redis.call('PUBLISH', 'fg:wake', P)
  end
  return #ids
end

-- When a message was accepted (Unix ms): its id, and so each delivery's, begins with that time in 48 bits.
local function accepted_at(id)
  local a, b, c, d, e, f = string.byte(id, 1, 6)
  return ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
end

local function oldest_of(ids, known)
  for _, id in ipairs(ids) do
    local at = accepted_at(id)
    if known == 0 or at < known then
      known = at
    end
  end
  return known
end

-- queue_counts: the deliveries that wait in some queues. KEYS: lane, rec, due, due, ... ARGV: now, sample, most.
-- Once it has read `most` ids it ends, with the queues that it has counted: long queues are counted few at a time.
-- The oldest is looked for among the `sample` deliveries that are due first and as many that are due last: all of them
-- where there are no more. Answers [[deliveries, due now, when the first is due, when the oldest was accepted,
-- record of the first or '', record of the last or ''], ...].
local function queue_counts(keys, argv)
  local sample, most, rows, read = tonumber(argv[2]), tonumber(argv[3]), {}, 0
  for i = 3, #keys do
    if read >= most then
      break
    end
    local due = keys[i]
    local many = redis.call('ZCARD', due)
    read = read + math.min(many, 2 * sample)
    if many == 0 then
      rows[#rows + 1] = { 0, 0, 0, 0, '', '' }
    elseif many == 1 then
      local only = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
      local record = redis.call('HGET', keys[2], only[1]) or ''
      local ready = tonumber(only[2]) <= tonumber(argv[1]) and 1 or 0
      rows[#rows + 1] = { 1, ready, only[2], accepted_at(only[1]), record, record }
    else
      local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
      local oldest = oldest_of(redis.call('ZRANGE', due, 0, sample - 1), 0)
      if many > sample then
        oldest = oldest_of(redis.call('ZRANGE', due, math.max(sample, many - sample), -1), oldest)
      end
      local last = redis.call('ZRANGE', due, -1, -1)[1]
      local records = redis.call('HMGET', keys[2], first[1], last)
      rows[#rows + 1] = {
        many,
        redis.call('ZCOUNT', due, '-inf', argv[1]),
        first[2],
        oldest,
        records[1] or '',
        records[2] or '',
      }
    end
  end
  return rows
end

-- held_queues: a page of what a pause holds, or of what is parked, by queue. KEYS: lane, held or parked. ARGV: first,
-- last place.
-- Answers [how many were looked at, "<place>|<domain>", deliveries, when the oldest was accepted, ...].
local function held_queues(keys, argv)
  local members = redis.call('ZRANGE', keys[2], argv[1], argv[2])
  local counts, oldest, answer = {}, {}, { #members }
  for _, member in ipairs(members) do
    local queue, at = string.sub(member, 19), accepted_at(member)
    counts[queue] = (counts[queue] or 0) + 1
    if not oldest[queue] or at < oldest[queue] then
      oldest[queue] = at
    end
  end
  for queue, many in pairs(counts) do
    answer[#answer + 1] = queue
    answer[#answer + 1] = many
    answer[#answer + 1] = oldest[queue]
  end
  return answer
end

redis.register_function {
  function_name = STEP .. 'queue_counts',
  callback = queue_counts,
  flags = { 'no-writes', 'allow-oom' },
}
redis.register_function {
  function_name = STEP .. 'held_queues',
  callback = held_queues,
  flags = { 'no-writes', 'allow-oom' },
}

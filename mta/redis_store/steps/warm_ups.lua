-- The warm-up of a sending IP at a site. KEYS: of `fg:{limits:<site>}:`.

-- warmup_take: hands out messages of a day, never more than its number in the schedule. A day on which no message was
-- told to have begun is not counted. A process that died loses the messages that it held for that day.
-- ARGV: date (days since 1970), and of the caller: the date of its report, messages begun since the last one, messages
-- given back, messages wanted; then the milliseconds for which the IP is remembered, and the schedule.
-- Answers [day of the schedule, its messages (0 = the IP is warm), how many more the caller may begin].
local function warmup_take(keys, argv)
  local date, told, begun, back = tonumber(argv[1]), tonumber(argv[2]), tonumber(argv[3]), tonumber(argv[4])
  local wanted, days = tonumber(argv[5]), #argv - 6
  local found = redis.call('HMGET', keys[1], 'day', 'date', 'taken', 'begun')
  local day, at = tonumber(found[1] or 1), tonumber(found[2] or date)
  local taken, sent = tonumber(found[3] or 0), tonumber(found[4] or 0)
  if told == at then
    sent, taken = sent + begun, math.max(0, taken - back)
  end
  if date > at then
    day, at, taken, sent = day + (sent > 0 and day <= days and 1 or 0), date, 0, 0
  end
  local messages, granted = tonumber(argv[6 + day] or 0), 0
  if day <= days and date == at then
    granted = math.max(0, math.min(wanted, messages - taken))
  end
  redis.call('HSET', keys[1], 'day', day, 'date', at, 'taken', taken + granted, 'begun', sent)
  redis.call('PEXPIRE', keys[1], argv[6])
  return { day, messages, granted }
end

redis.register_function { function_name = STEP .. 'warmup_take', callback = warmup_take, flags = { 'allow-oom' } }

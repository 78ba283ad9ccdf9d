-- The sites of domains, by their MX hosts. KEYS: sites (`fg:{meta}:sites`).

-- sites_note: ARGV: now, until (Unix ms), and for each domain: domain, site. A note that is in force stays.
-- Answers the notes that are in force, in order. A few others that are over are dropped, so that their number stays
-- bounded.
local function sites_note(keys, argv)
  local now, answer = tonumber(argv[1]), {}
  for i = 3, #argv, 2 do
    local note = redis.call('HGET', keys[1], argv[i])
    if not note or tonumber(string.match(note, '^(%d+) ')) <= now then
      note = argv[2] .. ' ' .. argv[i + 1]
      redis.call('HSET', keys[1], argv[i], note)
    end
    answer[#answer + 1] = note
  end
  local some = redis.call('HRANDFIELD', keys[1], 10, 'WITHVALUES')
  for i = 1, #some, 2 do
    if tonumber(string.match(some[i + 1], '^(%d+) ')) <= now then
      redis.call('HDEL', keys[1], some[i])
    end
  end
  return answer
end

redis.register_function { function_name = STEP .. 'sites_note', callback = sites_note, flags = { 'allow-oom' } }

-- Templates of mail: a hash of templates with the field bytes (the size of the parts of all), and for each template a
-- hash of the parts of its versions.

-- template_put: keeps a template that stands as the caller saw it. KEYS: table, parts. ARGV: id, value, the value that
-- it replaces ('' = there must be none), most templates, most bytes, number and parts of the new version ('' = none),
-- most templates of its tenant, then the numbers of versions to drop. Answers 1; 0: it stands otherwise; -1: there are
-- too many templates; -2: their parts have too many bytes; -3: the tenant has too many templates.
local function template_put(keys, argv)
  local id, value, wanted, most, most_bytes, number, parts, share = unpack(argv, 1, 8)
  local stands = redis.call('HGET', keys[1], id) or ''
  if stands == value then
    return 1
  end
  if stands ~= wanted then
    return 0
  end
  if stands == '' and redis.call('HLEN', keys[1]) > tonumber(most) then
    return -1
  end
  if stands == '' then
    local left, owner = tonumber(share), string.match(id, '^[^/]*/')
    for _, other in ipairs(redis.call('HKEYS', keys[1])) do
      if string.sub(other, 1, #owner) == owner then
        left = left - 1
      end
    end
    if left <= 0 then
      return -3
    end
  end
  local bytes = tonumber(redis.call('HGET', keys[1], 'bytes') or '0') + #parts
  if #parts > 0 and bytes > tonumber(most_bytes) then
    return -2
  end
  for i = 9, #argv do
    bytes = bytes - redis.call('HSTRLEN', keys[2], argv[i])
    redis.call('HDEL', keys[2], argv[i])
  end
  if #parts > 0 then
    redis.call('HSET', keys[2], number, parts)
  end
  redis.call('HSET', keys[1], id, value, 'bytes', string.format('%.0f', bytes))
  return 1
end

redis.register_function { function_name = STEP .. 'template_put', callback = template_put }

-- template_remove: takes a template away. KEYS: table, parts. ARGV: id. It writes in any case: a second call after a
-- lost answer waits for the replicas, too.
local function template_remove(keys, argv)
  local bytes = tonumber(redis.call('HGET', keys[1], 'bytes') or '0')
  for _, parts in ipairs(redis.call('HVALS', keys[2])) do
    bytes = bytes - #parts
  end
  redis.call('HSET', keys[1], 'bytes', string.format('%.0f', bytes))
  redis.call('DEL', keys[2])
  return redis.call('HDEL', keys[1], argv[1])
end

redis.register_function {
  function_name = STEP .. 'template_remove',
  callback = template_remove,
  flags = { 'allow-oom' },
}

--[[
  Puts entries back whose node has not renewed its locks: it is dead, or cut off.

  ARGV[1]  prefix
  ARGV[2]  node

  Returns the entries that wait again.
]]
local prefix = ARGV[1]
local reclaimed = {}
for _, queue in ipairs(redis.call('SMEMBERS', keyOf(prefix, '', 'queues'))) do
  -- Nothing reads what BullMQ says there, and taking adds to it without a bound.
  redis.call('XTRIM', keyOf(prefix, queue, 'events'), 'MAXLEN', '~', 1000)
  for _, id in ipairs(redis.call('LRANGE', keyOf(prefix, queue, 'active'), 0, -1)) do
    local key = keyOf(prefix, queue, id)
    if redis.call('EXISTS', key .. ':lock') == 0 then
      withdraw(prefix, queue, id)
      local row = redis.call('HMGET', key, 'state', 'seq', 'group', 'rank')
      if row[1] == 'active' or row[1] == 'waiting' or row[1] == 'retrying' then
        redis.call('HSET', key, 'state', 'waiting')
        file(prefix, queue, id, row[2], row[3], row[1], 'waiting')
        ready(prefix, queue, id, tonumber(row[2]), row[4])
        reclaimed[#reclaimed + 1] = read(prefix, queue, id)
      elseif not row[1] then
        redis.call('DEL', key)
      end
    end
  end
end
tell(prefix, ARGV[2], reclaimed)
return reclaimed

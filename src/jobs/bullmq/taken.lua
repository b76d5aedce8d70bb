--[[
  Makes entries active that BullMQ has locked for a node, and counts the attempt. One that was paused or removed in between is left out.

  ARGV[1]  prefix
  ARGV[2]  queue
  ARGV[3…] ids

  Returns the entries that the node has now.
]]
local prefix, queue = ARGV[1], ARGV[2]
local taken = {}
for at = 3, #ARGV do
  local id = ARGV[at]
  local key = keyOf(prefix, queue, id)
  local row = redis.call('HMGET', key, 'state', 'seq', 'group')
  if row[1] == 'waiting' or row[1] == 'retrying' then
    redis.call('HSET', key, 'state', 'active')
    redis.call('HINCRBY', key, 'attempts', 1)
    file(prefix, queue, id, row[2], row[3], row[1], 'active')
    taken[#taken + 1] = read(prefix, queue, id)
  elseif row[1] ~= 'active' then
    withdraw(prefix, queue, id)
    -- Left of an addition that did not come to its end.
    if not row[1] then redis.call('DEL', key) end
  end
end
return taken

--[[
  Makes entries active that BullMQ has locked for a node, and counts the attempt. One that was settled in between has lost its lock, and is left out.

  ARGV[1]  prefix
  ARGV[2]  queue
  ARGV[3]  the node's token
  ARGV[4…] ids

  Returns the entries that the node has now.
]]
local prefix, queue = ARGV[1], ARGV[2]
local taken = {}
for at = 4, #ARGV do
  local id = ARGV[at]
  local key = keyOf(prefix, queue, id)
  local row = redis.call('HMGET', key, 'state', 'seq', 'group')
  if not row[1] then
    -- Left of an addition that did not come to its end.
    withdraw(prefix, queue, id)
    redis.call('DEL', key)
  elseif row[1] == 'failed' or row[1] == 'done' or row[1] == 'paused' then
    -- Left where it was to be taken from, by a Redis that was cut off in the middle of a transaction.
    withdraw(prefix, queue, id)
  elseif redis.call('GET', key .. ':lock') == ARGV[3] then
    redis.call('HSET', key, 'state', 'active')
    redis.call('HINCRBY', key, 'attempts', 1)
    file(prefix, queue, id, row[2], row[3], row[1], 'active')
    taken[#taken + 1] = read(prefix, queue, id)
  end
end
return taken

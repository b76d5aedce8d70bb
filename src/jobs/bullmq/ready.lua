--[[
  Makes entries ready whose time has come, in the order of their ranks and seqs.

  ARGV[1]  prefix
  ARGV[2]  queue
  ARGV[3]  now, milliseconds since the epoch

  Returns {how many are ready, when the next of the others is due ('' where there is none)}.
]]
local prefix, queue = ARGV[1], ARGV[2]
local delayed = keyOf(prefix, queue, 'delayed')
local come = redis.call('ZRANGEBYSCORE', delayed, 0, string.format('%.0f', (tonumber(ARGV[3]) + 1) * 0x1000 - 1), 'LIMIT', 0, 1000)
for _, id in ipairs(come) do
  redis.call('ZREM', delayed, id)
  local row = redis.call('HMGET', keyOf(prefix, queue, id), 'seq', 'rank')
  if row[1] then ready(prefix, queue, id, tonumber(row[1]), row[2]) end
end
local following = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
return {redis.call('ZCARD', keyOf(prefix, queue, 'prioritized')), following and string.format('%.0f', math.floor(tonumber(following) / 0x1000)) or ''}

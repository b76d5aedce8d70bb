--[[
  Gives, renews or ends one of a number of leases under a name. A lease that is not renewed ends by the clock of Redis.

  KEYS[1]  sorted set: holders by the hour at which their lease ends

  ARGV[1]  holder
  ARGV[2]  how many may hold one; 0 ends the holder's
  ARGV[3]  milliseconds that it lasts

  Returns 1 where the holder has one now.
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local slots = tonumber(ARGV[2])
if slots == 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
  return 0
end
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= slots then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1

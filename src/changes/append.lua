--[[
  Appends a stretch of the log to the stream, each entry under the number that the index gave it. Whoever appends the same
  stretch again, or a part of it, changes nothing; a stretch that does not join on is refused, so that the stream never skips one.

  KEYS[1]  the stream

  ARGV[1]  the number before the stretch
  ARGV[2]  the number that the stretch ends with; its entries are all that there are up to there
  ARGV[3]  '1': a stream that ends before the stretch begins anew with it, instead of refusing it
  ARGV[4]  entries that the stream keeps, about
  ARGV[5…] number, value; in ascending order

  Returns the last number of the stream, 0 where there is none. It is smaller than ARGV[2] when the stretch was refused.
]]
local stream = KEYS[1]
local after = tonumber(ARGV[1])
local upto = tonumber(ARGV[2])

local last = 0
if redis.call('EXISTS', stream) == 1 then
  local info = redis.call('XINFO', 'STREAM', stream)
  for index = 1, #info, 2 do
    if info[index] == 'last-generated-id' then
      last = tonumber(string.match(info[index + 1], '^%d+'))
    end
  end
end

if upto <= last then return last end
if last < after then
  if ARGV[3] ~= '1' then return last end
  redis.call('XTRIM', stream, 'MAXLEN', 0)
end

for index = 5, #ARGV, 2 do
  if tonumber(ARGV[index]) > last then
    redis.call('XADD', stream, ARGV[index] .. '-0', 'c', ARGV[index + 1])
    last = tonumber(ARGV[index])
  end
end
if last < upto then
  -- The end of the stretch was cleared from the index: only its number is kept.
  redis.call('XADD', stream, ARGV[2] .. '-0', 'c', '')
  redis.call('XDEL', stream, ARGV[2] .. '-0')
end
redis.call('XTRIM', stream, 'MAXLEN', '~', ARGV[4])
return upto

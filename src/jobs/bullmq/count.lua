--[[
  Counts entries by queue and state. Costs the same at any length of the queues.

  ARGV[1]  prefix
  ARGV[2]  queue, or '' for all
  ARGV[3]  group, or ''

  Returns {queue, state, how many, when the oldest was added} of those that there are.
]]
local prefix, queue, group = ARGV[1], ARGV[2], ARGV[3]
local queues = {queue}
if queue == '' then
  queues = group == '' and redis.call('SMEMBERS', keyOf(prefix, '', 'queues'))
    or redis.call('HKEYS', keyOf(prefix, '', 'group:' .. group))
  table.sort(queues)
end
local counts = {}
for _, each in ipairs(queues) do
  for _, state in ipairs(STATES) do
    local key = keyOf(prefix, each, 'by:' .. state .. (group == '' and '' or ':' .. group))
    local first = redis.call('ZRANGE', key, 0, 0)[1]
    if first then
      counts[#counts + 1] = {each, state, redis.call('ZCARD', key), redis.call('HGET', keyOf(prefix, each, first), 'timestamp')}
    end
  end
end
return counts

// Reads base64 records of Kinesis, one a line; prints, a line each, a JSON array of the [partition key, data] in it.
const path = require('path');
const deaggregate = require(path.join(process.argv[2], 'node_modules', 'aws-kinesis-agg')).deaggregateSync;
const lines = require('fs').readFileSync(0, 'utf8').split('\n').filter((line) => line);
for (const line of lines) {
  const [partitionKey, data] = line.split(' ');
  const record = { partitionKey, sequenceNumber: '1', data };
  deaggregate(record, true, (error, records) => {
    if (error) throw new Error(error);
    const pairs = records.map((one) => [one.partitionKey, Buffer.from(one.data, 'base64').toString()]);
    console.log(JSON.stringify(pairs));
  });
}

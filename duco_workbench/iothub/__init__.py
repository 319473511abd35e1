"""What talks to an IoT Hub's service side, Azure's or the local one: tokens, devices, twins, direct methods."""

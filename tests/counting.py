"""A measurement that says how often it was made; a process that imports it has imported little."""


class Counter:
    def __init__(self, name, file):
        self.name, self.file, self.number = name, file, 0

    def __call__(self):
        self.number += 1
        with self.file.open("a") as file:
            file.write(self.name)
        return self.number
